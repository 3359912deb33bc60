import { devices } from "../../test/devices.js";
import { describeGoldenModels } from "../../test/golden-suite.js";

for (const device of devices) describeGoldenModels(device);
