import { useEffect, useState } from "preact/hooks";

/** What the page can show. */
export type Place = "playground" | "attention" | "lens" | "tokenizers";

export const places = [
  { name: "playground", text: "Playground" },
  { name: "attention", text: "Attention" },
  { name: "lens", text: "Layers" },
  { name: "tokenizers", text: "Tokenizers" },
] as const;

/** The place that the address names behind its `#`. */
export function usePlace(): Place {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const follow = (): void => setPlace(readPlace());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return place;
}

function readPlace(): Place {
  return places.find(({ name }) => location.hash === `#${name}`)?.name ?? "playground";
}
