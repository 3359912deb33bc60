import type { Vocabulary } from "../vocabulary.js";

/** Finds the tokens that single characters are; those of one unit are looked up once. */
export class CharacterIds {
  /** By unit: 0 for one that was not looked up yet, 1 for one that is no token, else its id and 2. */
  private readonly ofUnit = new Uint32Array(0x10000);

  constructor(private readonly vocabulary: Vocabulary) {}

  /** Id of the character of units [start, end), or -1. */
  idOf(units: Uint16Array, start: number, end: number): number {
    const { ofUnit, vocabulary } = this;
    if (end - start > 1) return vocabulary.idOfUnits(units, start, end);
    const unit = units[start] as number;
    if (ofUnit[unit] === 0) ofUnit[unit] = vocabulary.idOfUnits(units, start, end) + 2;
    return (ofUnit[unit] as number) - 2;
  }
}
