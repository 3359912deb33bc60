import { suite } from "./suite.ts";

export default suite("browser");
