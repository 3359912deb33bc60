import { existsSync } from "node:fs";
import { suite } from "./suite.ts";

// Chromium brings a Vulkan driver in software. It serves Dawn in Node where the machine's own is not named.
const swiftShader = "/usr/lib/chromium/vk_swiftshader_icd.json";
if (
  process.env.VK_ICD_FILENAMES === undefined &&
  process.env.VK_DRIVER_FILES === undefined &&
  existsSync(swiftShader)
) {
  process.env.VK_ICD_FILENAMES = swiftShader;
}

export default suite("gpu");
