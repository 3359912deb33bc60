/** Little stories of a few words each, between separators: enough to train a toy in seconds. */
export function createStories(count: number): string {
  const heroes = ["the cat", "a dog", "Tom", "Lily", "the old bear", "a small bird"];
  const deeds = [
    "sat on the mat",
    "ran to the park",
    "ate a red apple",
    "sang a song",
    "found a ball",
    "went home",
  ];
  return Array.from({ length: count }, (_, at) => {
    const hero = heroes[at % heroes.length];
    const first = deeds[Math.floor(at / heroes.length) % deeds.length];
    const second = deeds[Math.floor(at / heroes.length / deeds.length) % deeds.length];
    return `Once upon a time ${hero} ${first}. Then ${hero} ${second}. The end.`;
  }).join("\n<|endoftext|>\n");
}
