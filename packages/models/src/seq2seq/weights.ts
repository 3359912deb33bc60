import type { Tensor } from "@heddle/tensor";
import type { DecoderConfig } from "../config.js";
import {
  type AttentionWeights,
  buildAttention,
  buildLayer,
  buildNorm,
  type LayerWeights,
  type MakeWeight,
  type NormWeights,
} from "../weights.js";
import type { Seq2SeqConfig } from "./config.js";

/** A convolution over three places. */
export interface ConvWeights {
  /** [E, C, 3] */
  readonly weight: Tensor;
  /** [E] */
  readonly bias: Tensor;
}

interface StackWeights<Layer> {
  /** [maxPositions, E] */
  readonly positionEmbedding?: Tensor;
  /** [numBuckets, H] */
  readonly distanceBias?: Tensor;
  readonly embeddingNorm?: NormWeights;
  readonly layers: readonly Layer[];
  readonly norm?: NormWeights;
}

export interface SourceWeights extends StackWeights<LayerWeights> {
  readonly conv1?: ConvWeights;
  readonly conv2?: ConvWeights;
}

export interface CrossLayerWeights extends LayerWeights {
  /** Attention to the encoder's states, and its norm. */
  readonly cross: AttentionWeights;
  readonly crossNorm: NormWeights;
}

export interface Seq2SeqWeights {
  /** [V, E], of both stacks. */
  readonly embedding: Tensor;
  readonly encoder: SourceWeights;
  readonly decoder: StackWeights<CrossLayerWeights>;
  /** [V, E]; absent where the embedding is used. */
  readonly unembedding?: Tensor;
  /** [1, V] */
  readonly unembeddingBias?: Tensor;
}

/** Builds the tree that a configuration calls for. */
export function buildSeq2SeqWeights(config: Seq2SeqConfig, make: MakeWeight): Seq2SeqWeights {
  const { vocabSize, modelDim, source, encoder, decoder } = config;
  const conv = (name: string, channels: number) => ({
    weight: make(`encoder.${name}.weight`, [modelDim, channels, 3]),
    bias: make(`encoder.${name}.bias`, [modelDim]),
  });
  return {
    embedding: make("embedding", [vocabSize, modelDim]),
    encoder: {
      ...(source.kind === "frames"
        ? { conv1: conv("conv1", source.numBins), conv2: conv("conv2", modelDim) }
        : {}),
      ...buildStack(config, encoder, { name: "encoder", make }),
      layers: Array.from({ length: encoder.numLayers }, (_, layer) =>
        buildLayer(encoder, within("encoder", make), layer),
      ),
    },
    decoder: {
      ...buildStack(config, decoder, { name: "decoder", make }),
      layers: Array.from({ length: decoder.numLayers }, (_, layer) => buildCrossLayer(decoder, make, layer)),
    },
    ...(config.tieEmbeddings ? {} : { unembedding: make("unembedding", [vocabSize, modelDim], "matrix") }),
    ...(config.head.hasBias ? { unembeddingBias: make("unembeddingBias", [1, vocabSize]) } : {}),
  };
}

/** What a stack has besides its layers. */
function buildStack(
  { modelDim, positions, embedding, hasLastNorm }: Seq2SeqConfig,
  stack: DecoderConfig,
  { name, make }: { readonly name: string; readonly make: MakeWeight },
): Omit<StackWeights<never>, "layers"> {
  return {
    ...(positions.kind === "learned"
      ? {
          positionEmbedding: make(`${name}.positionEmbedding`, [
            stack.maxSeqLen + positions.offset,
            modelDim,
          ]),
        }
      : { distanceBias: make(`${name}.distanceBias`, [positions.numBuckets, stack.numHeads]) }),
    ...(embedding.hasNorm
      ? { embeddingNorm: buildNorm(stack.norm, make, `${name}.embeddingNorm`, modelDim) }
      : {}),
    ...(hasLastNorm ? { norm: buildNorm(stack.norm, make, `${name}.norm`, modelDim) } : {}),
  };
}

function buildCrossLayer(decoder: DecoderConfig, make: MakeWeight, layer: number): CrossLayerWeights {
  const own = within("decoder", make);
  return {
    ...buildLayer(decoder, own, layer),
    // Attention to the encoder has the form of a layer's own.
    cross: buildAttention(decoder, own, { layer, name: "cross" }),
    crossNorm: buildNorm(decoder.norm, own, `layers.${layer}.crossNorm`, decoder.modelDim),
  };
}

function within(name: string, make: MakeWeight): MakeWeight {
  return (path, ...leaf) => make(`${name}.${path}`, ...leaf);
}
