// The types are shared with `@heddle/quant`, so their table lies in `@heddle/tensor`.
export { type GgmlType, ggmlTypeInfo, ggmlTypeOf, ggmlTypes } from "@heddle/tensor";
