// Packs programs that measure or check the GPU device into one folder that runs on a Linux machine without a network and
// without Node: `node tooling/bench/gpu/pack.ts FOLDER [ENTRY.ts ...]`, then there `bash FOLDER/run.sh ENTRY [ARGUMENTS]`.
// Without entries: all programs beside this file (what they share lies in `parts`). A Python program NAME-torch.py beside NAME.ts travels along.
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { bundle, nameOf } from "./parts/bundle.ts";

/** Unpacks once, then runs one program with the packed Node on the machine's own driver. */
const launcher = `#!/usr/bin/env bash
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=\${HEDDLE_UNPACKED:-/tmp/heddle-bench}
mkdir -p "$work"
cp -r "$here"/. "$work"/
[ -x "$work/node" ] || { xz -dc "$work/node.xz" > "$work/node"; chmod +x "$work/node"; }
dawn="$work/node_modules/webgpu/dist/linux-x64/dawn.node"
[ -e "$dawn" ] || xz -dc "$dawn.xz" > "$dawn"
# Containers keep NVIDIA's driver in a folder of its own.
for icd in /etc/vulkan/icd.d/nvidia_icd.json /usr/share/vulkan/icd.d/nvidia_icd.json \
    /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json; do
  if [ -z "\${VK_ICD_FILENAMES:-}" ] && [ -e "$icd" ]; then export VK_ICD_FILENAMES="$icd"; fi
done
export LD_LIBRARY_PATH="$work:\${LD_LIBRARY_PATH:-}"
program=$1; shift
cd "$work"
exec ./node \${HEDDLE_NODE_FLAGS:-} "$program.mjs" "$@"
`;

const root = join(import.meta.dirname, "../../..");
const [target, ...entries] = process.argv.slice(2);
if (target === undefined) throw new Error("pack: give the folder to write; got none.");
const folder = resolve(target);
const programs = entries.length > 0 ? entries.map((entry) => resolve(entry)) : programsBesideThis();

for (const old of globSync(join(folder, "*.mjs"))) rmSync(old);
mkdirSync(folder, { recursive: true });
for (const program of programs) {
  await bundle(program, folder);
  const peer = program.replace(/\.[a-z]+$/, "-torch.py");
  if (existsSync(peer)) cpSync(peer, join(folder, basename(peer)));
}
packNode();
packDawn();
packVulkanLoader();
writeFileSync(join(folder, "run.sh"), launcher);
console.log(
  `${folder}: ${(sizeOf(folder) / 2 ** 20).toFixed(1)} MiB, programs ${programs.map(nameOf).join(" ")}`,
);

function programsBesideThis(): string[] {
  return globSync(join(import.meta.dirname, "*.ts")).filter(
    (file) => !["pack.ts", "run.ts"].includes(basename(file)),
  );
}

/** Slow, so done once for a folder. Without the symbols, which are a seventh of it, where binutils are installed. */
function compress(from: string, to: string): void {
  const packed = join(folder, to);
  if (existsSync(packed)) return;
  const bare = packed.replace(/\.xz$/, "");
  const script = 'strip -o "$2" "$1" 2> /dev/null || cp "$1" "$2"; xz -T0 -6 "$2"';
  execFileSync("sh", ["-c", script, "sh", from, bare]);
}

function packNode(): void {
  compress(process.execPath, "node.xz");
}

/** Dawn for Linux, and the few lines of JavaScript that load it. */
function packDawn(): void {
  const require = createRequire(join(root, "packages/gpu/package.json"));
  const source = dirname(realpathSync(require.resolve("webgpu")));
  const packed = join(folder, "node_modules/webgpu");
  mkdirSync(join(packed, "dist/linux-x64"), { recursive: true });
  for (const file of ["package.json", "index.js"]) cpSync(join(source, file), join(packed, file));
  compress(join(source, "dist/linux-x64/dawn.node"), "node_modules/webgpu/dist/linux-x64/dawn.node.xz");
}

function packVulkanLoader(): void {
  const loader = globSync("/usr/lib/{*,.}/libvulkan.so.1").find((path) => existsSync(path));
  if (loader !== undefined) cpSync(realpathSync(loader), join(folder, "libvulkan.so.1"));
}

function sizeOf(path: string): number {
  return globSync(join(path, "**")).reduce((sum, file) => {
    const { size } = statSync(file);
    return statSync(file).isFile() ? sum + size : sum;
  }, 0);
}
