import { hashUnits } from "../unit-hash.js";
import { numTokenSlots, type Vocabulary, vocabularyOfTable } from "../vocabulary.js";
import { instantiate } from "../wasm-module.js";
import { NOTES } from "../word-cuts.js";
import type { JsonCursor } from "./json-cursor.js";

/**
 * Reads entries of a vocabulary and of merges that are written as usual, as many as follow one another. Others (an escape
 * that is not \" or \\, a surrogate pair, an id that is not the number of its entry, a result that is neither that of
 * the merge before nor the token behind it, an entry of more than 500 bytes ...) are left to its twin, which adds them here
 * as well.
 *
 * Twin: the loops of BpeScan, which read strings
 */
export interface BpeReader {
  /** (left, right, result) of each merge. */
  readonly merges: Int32Array<ArrayBuffer>;
  add(token: string, id: number): void;
  /** Reads tokens from where the cursor is; false if there is no room for more. */
  readTokens(json: JsonCursor): boolean;
  /** Makes the vocabulary; null if two tokens or ids are equal. */
  finish(): Vocabulary | null;
  /** Reads merges behind the first `count`; returns how many there are then, or -1 if a side is no token or there is no room. */
  readMerges(json: JsonCursor, count: number): number;
}

/** Reads entries from one address to another and returns the address of the first one that it left. */
type ReadEntries = (from: number, limit: number) => number;

interface Exports {
  readonly m: WebAssembly.Memory;
  /** How many entries there are. */
  readonly n: WebAssembly.Global<"i32">;
  readonly t: ReadEntries;
  readonly g: ReadEntries;
  /** Places all tokens in their hash table; 0 if two are equal. */
  readonly p: (mask: number, entryBits: number) => number;
  /** Notes at address 0 which characters meet in so many tokens. */
  readonly c: (size: number) => void;
}

/** Where the part of the file lies that is read, how long it is, and how near to its end no entry begins. */
const WINDOW = 0x30000;
const SIZE = 0x4000;
const SLACK = 512;

/** Makes a reader in WebAssembly, which is quick from the first entry on; null where the platform forbids that. */
export function createBpeReader(bytes: Uint8Array): BpeReader | null {
  const room = (bytes.length >> 5) + SIZE;
  const numSlots = numTokenSlots(room);
  // Addresses of the tables; what is not used costs nothing. No entry takes less than four bytes of the window.
  const s = WINDOW + SIZE + 16;
  const i = s + room * 4;
  const t = i + room * 4;
  const u = t + numSlots * 4;
  const g = u + room * 16;
  const exports = instantiate<Exports>(CODE, { u, s, i, t, g }, (g + room * 24) >> 16);
  if (exports === null) return null;
  const { n } = exports;
  const { buffer } = exports.m;
  const window = new Uint8Array(buffer, WINDOW, SIZE + 8);
  const starts = new Int32Array(buffer, s, room);
  const ids = new Int32Array(buffer, i, room);
  const units = new Uint16Array(buffer, u, room * 8);
  const merges = new Int32Array(buffer, g, room * 6);
  /** Ids that are not the numbers of their entries. */
  const others: number[] = [];
  let size = 0;
  /** Where in the file the window begins. */
  let base = -SIZE;
  const read = (json: JsonCursor, readEntries: ReadEntries, hasRoom: () => boolean): boolean => {
    for (;;) {
      if (!hasRoom()) return false;
      if (json.at - base > SIZE - SLACK) {
        base = json.at;
        const part = bytes.subarray(base, base + SIZE);
        window.set(part);
        window.fill(0, part.length);
      }
      const end = WINDOW + SIZE - SLACK;
      const at = readEntries(WINDOW + json.at - base, end);
      json.at = base + at - WINDOW;
      if (at <= end) return at > 0;
    }
  };
  return {
    merges,
    add(token, id) {
      const at = n.value++;
      if (id !== at) others.push(id);
      const start = starts[at] as number;
      const end = start + token.length;
      for (let i = 0; i < token.length; i++) units[start + i] = token.charCodeAt(i);
      ids[at] = id;
      merges[at] = hashUnits(units, start, end);
      starts[at + 1] = end;
    },
    readTokens(json) {
      return read(
        json,
        exports.t,
        () => n.value < room - SIZE / 4 && (starts[n.value] as number) < units.length - SIZE,
      );
    },
    finish() {
      size = n.value;
      const mask = numTokenSlots(size) - 1;
      const hasEqualIds = new Set(others).size < others.length || others.some((id) => ids[id] === id);
      if (size === 0 || hasEqualIds || exports.p(mask, -1 >>> Math.clz32(size)) === 0) return null;
      const packed = {
        units: units.subarray(0, starts[size]),
        starts: starts.subarray(0, size + 1),
        ids: ids.subarray(0, size),
        noteMeetings: () => notesOf(exports, size),
      };
      return vocabularyOfTable(packed, new Int32Array(buffer, t, mask + 1));
    },
    readMerges(json, count) {
      // The next result is sought behind the last one.
      if ((merges[3 * count - 1] as number) >= size) return count;
      n.value = count;
      return read(json, exports.g, () => n.value < room * 2 - SIZE / 4) ? n.value : -1;
    },
  };
}

/** Notes which characters meet in so many tokens, where parts of the file lay before. */
function notesOf({ m, c }: Exports, size: number): Uint8Array {
  const notes = new Uint8Array(m.buffer, 0, NOTES).fill(0);
  c(size);
  return notes;
}

/**
 * Strings, hashes and slots are those of HashedVocabulary. The sides of all merges of a window are noted first; then the
 * memory that a look at each needs is asked for, so that the processor waits once for many; then they are looked up.
 *
 * (module
 *   (import "" "u" (global $units i32))
 *   (import "" "s" (global $starts i32))
 *   (import "" "i" (global $ids i32))
 *   (import "" "t" (global $slots i32))
 *   (import "" "g" (global $merges i32)) ;; before: hashes of the tokens
 *   (memory (export "m") 1)
 *   (global $n (export "n") (mut i32) (i32.const 0))
 *   (global $p (mut i32) (i32.const 0)) ;; what is read next
 *   (global $to (mut i32) (i32.const 0)) ;; behind the units of the last string
 *   (global $hash (mut i32) (i32.const 0)) ;; of the last string
 *   (global $empty (mut i32) (i32.const 0)) ;; the slot for a token that was not found
 *   (global $mask (mut i32) (i32.const 0))
 *   (global $bits (mut i32) (i32.const 0))
 *
 *   ;; skips white space, and the byte behind it if it is this one; 0 if it was
 *   (func $lacks (param $byte i32) (result i32) (local $k i32)
 *     (loop $again
 *       (global.set $p (i32.add (global.get $p)
 *         (local.tee $k (i32.wrap_i64 (i64.shr_u
 *           (i64.ctz (i64.xor (i64.load (global.get $p)) (i64.const 0x2020202020202020))) (i64.const 3))))))
 *       (if (i32.eq (i32.load8_u (global.get $p)) (i32.const 10)) (then
 *         (global.set $p (i32.add (global.get $p) (i32.const 1)))
 *         (br $again)))
 *       (br_if $again (i32.eq (local.get $k) (i32.const 8))))
 *     (global.set $p (i32.add (global.get $p)
 *       (i32.eqz (local.tee $k (i32.ne (i32.load8_u (global.get $p)) (local.get $byte))))))
 *     (local.get $k))
 *
 *   ;; reads a string to `end`, in which `not` does not stand; 0 if it is not ordinary
 *   (func $string (param $end i32) (param $not i32) (result i32) (local $p i32) (local $b i32) (local $w i32) (local $u i32) (local $h i32)
 *     (local.set $u (global.get $to))
 *     (local.set $p (global.get $p))
 *     (block $odd
 *       (loop $next
 *         (local.set $b (i32.load8_u (local.get $p)))
 *         (local.set $p (i32.add (local.get $p) (i32.const 1)))
 *         (if (i32.eq (local.get $b) (local.get $end)) (then
 *           (local.set $h (i32.xor (local.get $h)
 *             (i32.shr_u (i32.sub (local.get $u) (global.get $to)) (i32.const 1))))
 *           (local.set $h (i32.mul (i32.xor (local.get $h) (i32.shr_u (local.get $h) (i32.const 15))) (i32.const 0x2c1b3c6d)))
 *           (global.set $hash (i32.xor (local.get $h) (i32.shr_u (local.get $h) (i32.const 13))))
 *           (global.set $to (local.get $u))
 *           (global.set $p (local.get $p))
 *           (return (i32.const 1))))
 *         (br_if $odd (i32.lt_u (local.get $b) (i32.const 32)))
 *         (br_if $odd (i32.eq (local.get $b) (local.get $not)))
 *         (if (i32.eq (local.get $b) (i32.const 92)) (then
 *           (local.set $b (i32.load8_u (local.get $p)))
 *           (local.set $p (i32.add (local.get $p) (i32.const 1)))
 *           (br_if $odd (i32.and (i32.ne (local.get $b) (i32.const 92)) (i32.ne (local.get $b) (i32.const 34))))))
 *         (if (i32.ge_u (local.get $b) (i32.const 0x80)) (then
 *           (local.set $w (i32.load (i32.sub (local.get $p) (i32.const 1))))
 *           (local.set $p (i32.add (local.get $p) (i32.const 1)))
 *           (local.set $b (i32.or
 *             (i32.shl (i32.and (local.get $b) (i32.const 31)) (i32.const 6))
 *             (i32.and (i32.shr_u (local.get $w) (i32.const 8)) (i32.const 63))))
 *           (if (i32.eq (i32.and (local.get $w) (i32.const 0xc0e0)) (i32.const 0x80c0)) (then
 *             (br_if $odd (i32.lt_u (local.get $b) (i32.const 0x80))))
 *           (else
 *             (br_if $odd (i32.ne (i32.and (local.get $w) (i32.const 0xc0c0f0)) (i32.const 0x8080e0)))
 *             (local.set $p (i32.add (local.get $p) (i32.const 1)))
 *             (local.set $b (i32.or
 *               (i32.shl (i32.and (local.get $b) (i32.const 0x3ff)) (i32.const 6))
 *               (i32.and (i32.shr_u (local.get $w) (i32.const 16)) (i32.const 63))))
 *             (br_if $odd (i32.lt_u (local.get $b) (i32.const 0x800)))
 *             (br_if $odd (i32.eq (i32.shr_u (local.get $b) (i32.const 11)) (i32.const 27)))))))
 *         (i32.store16 (local.get $u) (local.get $b))
 *         (local.set $u (i32.add (local.get $u) (i32.const 2)))
 *         (local.set $h (i32.mul (i32.xor (local.get $h) (local.get $b)) (i32.const 0x9e3779b1)))
 *         (br $next)))
 *     (i32.const 0))
 *
 *   ;; is the token made of `length` bytes of units at `at`?
 *   (func $equals (param $entry i32) (param $at i32) (param $length i32) (result i32) (local $from i32)
 *     (local.set $from (i32.load (local.tee $entry (i32.add (global.get $starts) (i32.shl (local.get $entry) (i32.const 2))))))
 *     (if (i32.ne (i32.shl (i32.sub (i32.load offset=4 (local.get $entry)) (local.get $from)) (i32.const 1)) (local.get $length))
 *       (then (return (i32.const 0))))
 *     (local.set $from (i32.add (global.get $units) (i32.shl (local.get $from) (i32.const 1))))
 *     (loop $compare
 *       (if (i32.gt_s (local.get $length) (i32.const 0)) (then
 *         (if (i64.ne (i64.const 0) (i64.shl
 *               (i64.xor (i64.load (local.get $from)) (i64.load (local.get $at)))
 *               (i64.extend_i32_u (select (i32.const 0) (i32.sub (i32.const 64) (i32.shl (local.get $length) (i32.const 3)))
 *                 (i32.gt_s (local.get $length) (i32.const 7))))))
 *           (then (return (i32.const 0))))
 *         (local.set $from (i32.add (local.get $from) (i32.const 8)))
 *         (local.set $at (i32.add (local.get $at) (i32.const 8)))
 *         (local.set $length (i32.sub (local.get $length) (i32.const 8)))
 *         (br $compare))))
 *     (i32.const 1))
 *
 *   ;; entry of the token, or -1: then $empty is the address of its place
 *   (func $find (param $hash i32) (param $at i32) (param $length i32) (result i32)
 *     (local $slot i32) (local $found i32)
 *     (local.set $slot (local.get $hash))
 *     (loop $probe
 *       (global.set $empty (i32.add (global.get $slots) (i32.shl (i32.and (local.get $slot) (global.get $mask)) (i32.const 2))))
 *       (if (i32.eqz (local.tee $found (i32.load (global.get $empty)))) (then (return (i32.const -1))))
 *       (local.set $slot (i32.add (local.get $slot) (i32.const 1)))
 *       (br_if $probe (i32.and (i32.xor (local.get $found) (local.get $hash)) (i32.xor (global.get $bits) (i32.const -1))))
 *       (br_if $probe (i32.eqz (call $equals
 *         (local.tee $found (i32.sub (i32.and (local.get $found) (global.get $bits)) (i32.const 1)))
 *         (local.get $at) (local.get $length)))))
 *     (local.get $found))
 *
 *   ;; reads a side of a merge and notes its hash, where its units lie, and their bytes; 0 if it is not ordinary
 *   (func $side (param $end i32) (param $not i32) (param $note i32) (result i32)
 *     (i32.store offset=4 (local.get $note) (global.get $to))
 *     (local.set $end (call $string (local.get $end) (local.get $not)))
 *     (i32.store (local.get $note) (global.get $hash))
 *     (i32.store offset=8 (local.get $note) (i32.sub (global.get $to) (i32.load offset=4 (local.get $note))))
 *     (local.get $end))
 *
 *   ;; reads tokens: , "token": id
 *   (func (export "t") (param $p i32) (param $limit i32) (result i32) (local $id i32) (local $row i32) (local $d i32)
 *     (block $odd
 *       (loop $item
 *         (global.set $p (local.get $p))
 *         (global.set $to (i32.add (global.get $units) (i32.shl
 *           (i32.load (i32.add (global.get $starts) (local.tee $row (i32.shl (global.get $n) (i32.const 2))))) (i32.const 1))))
 *         (br_if $odd (call $lacks (i32.const 44)))
 *         (br_if $odd (call $lacks (i32.const 34)))
 *         (br_if $odd (i32.eqz (call $string (i32.const 34) (i32.const 34))))
 *         (br_if $odd (call $lacks (i32.const 58)))
 *         (drop (call $lacks (i32.const 0)))
 *         (local.set $id (i32.const 0))
 *         (loop $digit
 *           (if (i32.lt_u (local.tee $d (i32.sub (i32.load8_u (global.get $p)) (i32.const 48))) (i32.const 10)) (then
 *             (local.set $id (i32.add (i32.mul (local.get $id) (i32.const 10)) (local.get $d)))
 *             ;; no 0 in front, and eight digits at most
 *             (br_if $odd (i32.gt_u (i32.sub (local.get $id) (i32.const 1)) (i32.const 99999998)))
 *             (global.set $p (i32.add (global.get $p) (i32.const 1)))
 *             (br $digit))))
 *         (br_if $odd (i32.ne (local.get $id) (global.get $n)))
 *         (i32.store (i32.add (global.get $merges) (local.get $row)) (global.get $hash))
 *         (i32.store (i32.add (global.get $ids) (local.get $row)) (local.get $id))
 *         (i32.store offset=4 (i32.add (global.get $starts) (local.get $row))
 *           (i32.shr_u (i32.sub (global.get $to) (global.get $units)) (i32.const 1)))
 *         (global.set $n (i32.add (global.get $n) (i32.const 1)))
 *         (br_if $item (i32.le_u (local.tee $p (global.get $p)) (local.get $limit)))))
 *     (local.get $p))
 *
 *   ;; places $n tokens; 0 if two are equal
 *   (func (export "p") (param $mask i32) (param $bits i32) (result i32)
 *     (local $entry i32) (local $row i32) (local $hash i32) (local $from i32)
 *     (global.set $mask (local.get $mask))
 *     (global.set $bits (local.get $bits))
 *     (loop $next
 *       (local.set $from (i32.load (i32.add (global.get $starts) (local.tee $row (i32.shl (local.get $entry) (i32.const 2))))))
 *       (if (i32.ge_s (call $find
 *             (local.tee $hash (i32.load (i32.add (global.get $merges) (local.get $row))))
 *             (i32.add (global.get $units) (i32.shl (local.get $from) (i32.const 1)))
 *             (i32.shl (i32.sub (i32.load offset=4 (i32.add (global.get $starts) (local.get $row))) (local.get $from)) (i32.const 1)))
 *           (i32.const 0)) (then (return (i32.const 0))))
 *       (i32.store (global.get $empty) (i32.or
 *         (i32.and (local.get $hash) (i32.xor (global.get $bits) (i32.const -1)))
 *         (local.tee $entry (i32.add (local.get $entry) (i32.const 1)))))
 *       (br_if $next (i32.lt_u (local.get $entry) (global.get $n))))
 *     (i32.const 1))
 *
 *   ;; reads merges: , ["left", "right"] or , "left right"; 0 if a side is no token
 *   (func (export "g") (param $p i32) (param $limit i32) (result i32)
 *     (local $isPair i32) (local $end i32) (local $at i32) (local $result i32)
 *     (local $row i32) (local $note i32) (local $last i32) (local $id i32)
 *     (local.set $result (i32.load (i32.sub
 *       (local.tee $row (i32.add (global.get $merges) (i32.mul (global.get $n) (i32.const 12)))) (i32.const 4))))
 *     (global.set $to (i32.const 131072))
 *     (local.set $note (i32.const 1024))
 *     (block $odd
 *       (loop $item
 *         (global.set $p (local.get $p))
 *         (local.set $at (global.get $to))
 *         (br_if $odd (call $lacks (i32.const 44)))
 *         (local.set $end (select (i32.const 34) (i32.const 32) (local.tee $isPair (i32.eqz (call $lacks (i32.const 91))))))
 *         (br_if $odd (call $lacks (i32.const 34)))
 *         (br_if $odd (i32.eqz (call $side (local.get $end) (i32.const 34) (local.get $note))))
 *         (if (local.get $isPair) (then
 *           (br_if $odd (call $lacks (i32.const 44)))
 *           (br_if $odd (call $lacks (i32.const 34)))))
 *         (br_if $odd (i32.eqz (call $side (i32.const 34) (local.get $end) (i32.add (local.get $note) (i32.const 12)))))
 *         (if (local.get $isPair) (then (br_if $odd (call $lacks (i32.const 93)))))
 *         (local.set $end (i32.sub (global.get $to) (local.get $at)))
 *         (if (i32.eqz (call $equals (local.get $result) (local.get $at) (local.get $end))) (then
 *           (br_if $odd (i32.eqz (call $equals (local.tee $result (i32.add (local.get $result) (i32.const 1))) (local.get $at) (local.get $end))))))
 *         (br_if $odd (i32.ne (i32.load (i32.add (global.get $ids) (i32.shl (local.get $result) (i32.const 2)))) (local.get $result)))
 *         (i32.store offset=8 (i32.add (local.get $row) (i32.shr_u (i32.sub (local.get $note) (i32.const 1024)) (i32.const 1))) (local.get $result))
 *         (local.set $note (i32.add (local.get $note) (i32.const 24)))
 *         (global.set $n (i32.add (global.get $n) (i32.const 1)))
 *         (br_if $item (i32.le_u (local.tee $p (global.get $p)) (local.get $limit)))))
 *     ;; memory is asked for all sides before one of them is looked up
 *     (local.set $last (local.get $note))
 *     (local.set $note (i32.const 1024))
 *     (loop $touch
 *       (if (i32.lt_u (local.get $note) (local.get $last)) (then
 *         (global.set $hash (i32.load (i32.add (global.get $units) (i32.shl
 *           (i32.load (i32.add (global.get $starts) (i32.shl
 *             (i32.sub (i32.and (global.get $bits) (i32.load (i32.add (global.get $slots) (i32.shl
 *               (i32.and (i32.load (local.get $note)) (global.get $mask)) (i32.const 2))))) (i32.const 1))
 *             (i32.const 2)))) (i32.const 1)))))
 *         (local.set $note (i32.add (local.get $note) (i32.const 12)))
 *         (br $touch))))
 *     (local.set $note (i32.const 1024))
 *     (loop $next
 *       (if (i32.lt_u (local.get $note) (local.get $last)) (then
 *         (if (i32.lt_s (local.tee $id (call $find (i32.load (local.get $note)) (i32.load offset=4 (local.get $note)) (i32.load offset=8 (local.get $note)))) (i32.const 0))
 *           (then (return (i32.const 0))))
 *         (i32.store (local.get $row) (i32.load (i32.add (global.get $ids) (i32.shl (local.get $id) (i32.const 2)))))
 *         (local.set $note (i32.add (local.get $note) (i32.const 12)))
 *         (local.set $row (i32.add (local.get $row) (i32.const 4)))
 *         (if (i32.eqz (i32.rem_u (i32.sub (local.get $note) (i32.const 1024)) (i32.const 24))) (then
 *           (local.set $row (i32.add (local.get $row) (i32.const 4)))))
 *         (br $next))))
 *     (local.get $p))
 *
 *   ;; the low bits of the byte that a unit stands for
 *   (func $low (param $u i32) (result i32)
 *     (i32.and (i32.const 63) (i32.add (local.get $u) (select
 *       (i32.const 0)
 *       (select (i32.const 42) (i32.const 30) (i32.eq (local.get $u) (i32.const 323)))
 *       (i32.lt_u (local.get $u) (i32.const 289))))))
 *
 *   ;; notes at address 0 which characters meet in the first $size tokens
 *   (func (export "c") (param $size i32)
 *     (local $row i32) (local $p i32) (local $start i32) (local $end i32)
 *     (local $first i32) (local $left i32) (local $right i32)
 *     (local.set $row (global.get $starts))
 *     (local.set $end (global.get $units))
 *     (loop $token
 *       ;; $p is two units before the one that is looked at
 *       (local.set $p (i32.sub (local.tee $start (local.get $end)) (i32.const 4)))
 *       (local.set $row (i32.add (local.get $row) (i32.const 4)))
 *       (local.set $end (i32.add (global.get $units) (i32.shl (i32.load (local.get $row)) (i32.const 1))))
 *       (loop $unit
 *         (local.set $p (i32.add (local.get $p) (i32.const 2)))
 *         (if (i32.lt_u (i32.add (local.get $p) (i32.const 4)) (local.get $end)) (then
 *           (br_if $unit (i32.ne (i32.shr_u (local.tee $first (i32.load16_u offset=4 (local.get $p))) (i32.const 5)) (i32.const 7)))
 *           ;; behind a byte inside a character
 *           (local.set $left (i32.load16_u offset=2 (local.get $p)))
 *           (br_if $unit (i32.and
 *             (i32.gt_u (i32.sub (local.get $left) (i32.const 161)) (i32.const 30))
 *             (i32.lt_u (local.get $left) (i32.const 290))))
 *           (local.set $left (call $low (local.get $left)))
 *           (local.set $first (i32.and (local.get $first) (i32.const 31)))
 *           (local.set $right (select
 *             (i32.or
 *               (i32.shl (local.get $first) (i32.const 12))
 *               (i32.or
 *                 (i32.shl (call $low (i32.load16_u offset=6 (local.get $p))) (i32.const 6))
 *                 (call $low (i32.load16_u offset=8 (local.get $p)))))
 *             (i32.or (local.get $first) (i32.const -64))
 *             (i32.lt_u (i32.add (local.get $p) (i32.const 8)) (local.get $end))))
 *           (local.set $first (i32.or (local.get $first) (i32.shl (local.get $left) (i32.const 5))))
 *           (local.set $left (i32.or (local.get $left) (select
 *             (i32.const -64)
 *             (i32.shl (call $low (i32.load16_u (local.get $p))) (i32.const 6))
 *             (i32.lt_u (local.get $p) (local.get $start)))))
 *           (if (i32.lt_s (i32.or (local.get $left) (local.get $right)) (i32.const 0))
 *             (then (i32.store8 offset=131072 (local.get $first) (i32.const 1))))
 *           (i32.store8
 *             (local.tee $right (i32.shr_u
 *               (local.tee $left (i32.mul (i32.const 0x9e3779b1)
 *                 (i32.xor (local.get $left) (i32.mul (local.get $right) (i32.const 0x85ebca6b)))))
 *               (i32.const 15)))
 *             (i32.or (i32.load8_u (local.get $right))
 *               (i32.shl (i32.const 1) (i32.and (i32.shr_u (local.get $left) (i32.const 12)) (i32.const 7)))))
 *           (br $unit))))
 *       (br_if $token (local.tee $size (i32.sub (local.get $size) (i32.const 1))))))
 * )
 */
const CODE =
  "0061736d0100000001170460017f017f60027f7f017f60037f7f7f017f60017f00021f05000175037f00000173037f00000169037f0000017403" +
  "7f00000167037f00030b0a0001020202010101000305030100010624077f0141000b7f0141000b7f0141000b7f0141000b7f0141000b7f014100" +
  "0b7f0141000b071906016d0200016e0305017400050170000601670007016300090acc0c0a5001017f03402306230629030042a0c08081828488" +
  "9020857a420388a722016a240623062d0000410a460440230641016a24060c010b20014108460d000b230623062d00002000472201456a240620" +
  "010bb00201057f23072105230621020240034020022d00002103200241016a2102200320004604402006200523076b4101767321062006200641" +
  "0f767341edf8ece0026c210620062006410d76732408200524072002240641010f0b20034120490d0120032001460d01200341dc004604402002" +
  "2d00002103200241016a2102200341dc00472003412247710d020b20034180014f0440200241016b2802002104200241016a21022003411f7141" +
  "06742004410876413f71722103200441e081037141c081024604402003418001490d0305200441f08183067141e0818204470d03200241016a21" +
  "02200341ff07714106742004411076413f717221032003418010490d032003410b76411b460d030b0b200520033b0100200541026a2105200620" +
  "037341b1f3ddf1796c21060c000b0b41000b7c01017f230120004102746a22002802002103200028020420036b410174200247044041000f0b23" +
  "0020034101746a21030340200241004a044042002003290300200129030085410041c00020024103746b200241074a1bad8652044041000f0b20" +
  "0341086a2103200141086a2101200241086b21020c010b0b41010b4f01027f20002103034023032003230a714102746a24092309280200220445" +
  "0440417f0f0b200341016a21032004200073230b417f73710d002004230b7141016b2204200120021002450d000b20040b270020022307360204" +
  "2000200110012100200223083602002002230720022802046b36020820000bb70101037f024003402000240623002301230541027422036a2802" +
  "004101746a2407412c10000d01412210000d01412241221001450d01413a10000d01410010001a41002102034023062d000041306b2204410a49" +
  "04402002410a6c20046a2102200241016b41fec1d72f4b0d03230641016a24060c010b0b20022305470d01230420036a2308360200230220036a" +
  "2002360200230120036a230723006b410176360204230541016a24052306220020014d0d000b0b20000b6701047f2000240a2001240b03402301" +
  "200241027422036a2802002105230420036a2802002204230020054101746a230120036a28020420056b410174100341004e044041000f0b2309" +
  "2004230b417f7371200241016a22027236020020022305490d000b41010b850301087f23042305410c6c6a220641046b28020021054180800824" +
  "074180082107024003402000240623072104412c10000d014122412041db0010004522021b2103412210000d012003412220071004450d012002" +
  "0440412c10000d02412210000d020b412220032007410c6a1004450d012002044041dd0010000d020b230720046b210320052004200310024504" +
  "40200541016a2205200420031002450d020b230220054102746a2802002005470d01200620074180086b4101766a2005360208200741186a2107" +
  "230541016a24052306220020014d0d000b0b20072108418008210703402007200849044023002301230b23032007280200230a714102746a2802" +
  "007141016b4102746a2802004101746a28020024082007410c6a21070c010b0b4180082107034020072008490440200728020020072802042007" +
  "28020810032209410048044041000f0b2006230220094102746a2802003602002007410c6a2107200641046a210620074180086b411870450440" +
  "200641046a21060b0c010b0b20000b1c00413f20004100412a411e200041c302461b200041a102491b6a710b8c0201077f230121012300210403" +
  "402004220341046b2102200141046a2101230020012802004101746a21040340200241026a2102200241046a200449044020022f010422054105" +
  "764107470d0120022f01022106200641a1016b411e4b200641a20249710d012006100821062005411f7121052005410c7420022f010610084106" +
  "7420022f0108100872722005414072200241086a2004491b2107200520064105747221052006414020022f0100100841067420022003491b7221" +
  "0620062007724100480440200541013a008080080b41b1f3ddf1792006200741eb94afaf786c736c2206410f76220720072d000041012006410c" +
  "7641077174723a00000c010b0b200041016b22000d000b0b";
