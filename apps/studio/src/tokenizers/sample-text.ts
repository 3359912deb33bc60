/** What the page begins with: prose, other scripts, numbers and code, which tokenizers treat very differently. */
export const sampleText = `The weaver passed the shuttle through the warp, and the thread went over and under, over and under.
Unbelievably, the unwoven weavers' re-weaving was unbelievable!

In 1994 a trick for compressing data was printed in a magazine; in 2016 it began to cut words for machines.
天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。
Привет, мир! Γειά σου Κόσμε! नमस्ते दुनिया! 🧵🪡👩🏽‍🔧

for (let row = 0; row < 1_000; row++) {
\tweave(warp[row], weft[row % 2]); // over, under
}
`;
