// The part of WebGPU that Heddle uses, so that its declarations need no other package's types. A `GPUDevice` of a browser or
// of Dawn is a `NativeDevice`.

export interface NativeBuffer {
  readonly size: number;
  destroy(): void;
  mapAsync(mode: number): Promise<unknown>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): void;
}

export interface NativeComputePass {
  setPipeline(pipeline: object): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y?: number, z?: number): void;
  end(): void;
}

export interface NativeEncoder {
  beginComputePass(descriptor?: object): NativeComputePass;
  copyBufferToBuffer(
    source: NativeBuffer,
    sourceOffset: number,
    destination: NativeBuffer,
    destinationOffset: number,
    size: number,
  ): unknown;
  finish(): object;
}

export interface NativeQueue {
  submit(commands: object[]): unknown;
  writeBuffer(
    buffer: NativeBuffer,
    offset: number,
    data: ArrayBuffer,
    dataOffset: number,
    size: number,
  ): unknown;
  onSubmittedWorkDone(): Promise<unknown>;
}

export interface NativeError {
  readonly message: string;
}

export interface NativeDevice {
  readonly queue: NativeQueue;
  readonly features: { has(name: string): boolean };
  readonly limits: object;
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  createBuffer(descriptor: {
    size: number;
    usage: number;
    mappedAtCreation?: boolean;
    label?: string;
  }): NativeBuffer;
  createShaderModule(descriptor: { code: string; label?: string }): object;
  createBindGroupLayout(descriptor: object): object;
  createPipelineLayout(descriptor: object): object;
  createComputePipeline(descriptor: object): object;
  createBindGroup(descriptor: object): object;
  createCommandEncoder(): NativeEncoder;
  pushErrorScope(filter: "out-of-memory"): unknown;
  popErrorScope(): Promise<NativeError | null>;
  addEventListener(type: "uncapturederror", listener: (event: never) => void): unknown;
  removeEventListener(type: "uncapturederror", listener: (event: never) => void): unknown;
  destroy(): unknown;
}

export interface NativeAdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
}

export interface NativeAdapter {
  readonly features: { has(name: string): boolean };
  readonly limits: object;
  readonly info: object;
  requestDevice(descriptor?: object): Promise<object>;
}

export interface NativeGpu {
  requestAdapter(options?: object): Promise<object | null>;
}

/** Bits of `GPUBufferUsage`; not every runtime has the global. */
export const usage = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const;
export const mapRead = 1;
/** `GPUShaderStage.COMPUTE`. */
export const computeStage = 4;
