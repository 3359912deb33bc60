import type { Host } from "./connection.js";
import { Switch } from "./switch.js";

/** Chooses which engine answers: that of the server, or the small model inside the page. */
export function HostSwitch({ host, onChange }: { host: Host; onChange: (host: Host) => void }) {
  return (
    <Switch
      label="Engine"
      options={[
        { value: "server", text: "Server" },
        { value: "page", text: "This page, on WebGPU", isDisabled: !("gpu" in navigator) },
      ]}
      value={host}
      onChange={onChange}
    />
  );
}
