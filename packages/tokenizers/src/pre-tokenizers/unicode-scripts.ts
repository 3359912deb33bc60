import { type AlignedText, sliceAligned } from "../aligned-text.js";

/** Long names of the scripts that are told apart (Unicode 12, plus whatever of later versions the platform knows). */
const SCRIPTS =
  "Common Latin Greek Cyrillic Armenian Hebrew Arabic Syriac Thaana Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Georgian Hangul Ethiopic Cherokee Canadian_Aboriginal Ogham Runic Khmer Mongolian Hiragana Katakana Bopomofo Han Yi Old_Italic Gothic Deseret Inherited Tagalog Hanunoo Buhid Tagbanwa Limbu Tai_Le Linear_B Ugaritic Shavian Osmanya Cypriot Braille Buginese Coptic New_Tai_Lue Glagolitic Tifinagh Syloti_Nagri Old_Persian Kharoshthi Balinese Cuneiform Phoenician Phags_Pa Nko Sundanese Lepcha Ol_Chiki Vai Saurashtra Kayah_Li Rejang Lycian Carian Lydian Cham Tai_Tham Tai_Viet Avestan Egyptian_Hieroglyphs Samaritan Lisu Bamum Javanese Meetei_Mayek Imperial_Aramaic Old_South_Arabian Inscriptional_Parthian Inscriptional_Pahlavi Old_Turkic Kaithi Batak Brahmi Mandaic Chakma Meroitic_Cursive Meroitic_Hieroglyphs Miao Sharada Sora_Sompeng Takri Caucasian_Albanian Bassa_Vah Duployan Elbasan Grantha Pahawh_Hmong Khojki Linear_A Mahajani Manichaean Mende_Kikakui Modi Mro Old_North_Arabian Nabataean Palmyrene Pau_Cin_Hau Old_Permic Psalter_Pahlavi Siddham Khudawadi Tirhuta Warang_Citi Ahom Anatolian_Hieroglyphs Hatran Multani Old_Hungarian SignWriting Adlam Bhaiksuki Marchen Newa Osage Tangut Masaram_Gondi Nushu Soyombo Zanabazar_Square Dogra Gunjala_Gondi Makasar Medefaidrin Hanifi_Rohingya Sogdian Old_Sogdian Elymaic Nandinagari Nyiakeng_Puachue_Hmong Wancho";

/** A script's number; 0 for characters that belong to none and for the space. */
type ScriptOf = (char: string) => Script;

/** A script; kana have the number of Han. */
export interface Script {
  readonly number: number;
  readonly name: string;
}

function createScriptOf(): ScriptOf {
  const patterns = SCRIPTS.split(" ").map((name) => ({
    name,
    pattern: new RegExp(`^\\p{Script=${name}}`, "u"),
  }));
  const han = patterns.findIndex(({ name }) => name === "Han") + 1;
  const none = { number: 0, name: "" };
  const known = new Map<string, Script>([
    [" ", none],
    ["\u30fc", { number: han, name: "Han" }],
  ]);
  return (char) => {
    const seen = known.get(char);
    if (seen !== undefined) return seen;
    const index = patterns.findIndex(({ pattern }) => pattern.test(char));
    const name = patterns[index]?.name ?? "";
    const isKana = name === "Hiragana" || name === "Katakana";
    const script = index < 0 ? none : { number: isKana ? han : index + 1, name };
    if (known.size < 20_000) known.set(char, script);
    return script;
  };
}

/** Finds the script of a character; the tables are made at the first call. */
export const scriptOf = ((): ScriptOf => {
  let find: ScriptOf | null = null;
  return (char) => {
    find ??= createScriptOf();
    return find(char);
  };
})();

/**
 * Cuts where the script changes, as Hugging Face's UnicodeScripts does: kana count as Han, the space and characters
 * without a script join what stands before them, and such characters at the very start are dropped.
 */
export function splitByScript(piece: AlignedText, out: AlignedText[]): void {
  let last = -1;
  let start = -1;
  let at = 0;
  for (const char of piece.text) {
    const script = scriptOf(char).number;
    if (script !== 0 && script !== last) {
      if (start >= 0) out.push(sliceAligned(piece, start, at));
      start = at;
    }
    if (script !== 0) last = script;
    at += char.length;
  }
  if (start >= 0) out.push(sliceAligned(piece, start, at));
}
