import { suite } from "./tooling/vitest/suite.ts";

export default suite("unit");
