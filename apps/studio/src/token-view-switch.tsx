import { Switch } from "./switch.js";
import type { TokenView } from "./token-text.js";

const views = [
  { value: "text", text: "Text" },
  { value: "tokens", text: "Tokens" },
] as const;

/** Chooses how tokens are shown. */
export function TokenViewSwitch({
  view,
  onChange,
}: {
  view: TokenView;
  onChange: (view: TokenView) => void;
}) {
  return <Switch<TokenView> label="Show as" options={views} value={view} onChange={onChange} />;
}
