import { HeddleError } from "@heddle/tensor";

export interface LogMelOptions {
  /** Frequency bands: 80, or 128 for Whisper large-v3. Default 80. */
  readonly numBins?: number;
  /** Samples to cut or fill up to with silence; 480 000 (default) are 30 s. "given" keeps the length. */
  readonly numSamples?: number | "given";
}

/** Log-mel frames on the host, ready for `tensor`. */
export interface LogMel {
  /** [1, numBins, numFrames], row by row. */
  readonly data: Float32Array;
  readonly shape: readonly [1, number, number];
}

const sampleRate = 16_000;
const windowLength = 400;
const hop = 160;
const numFrequencies = windowLength / 2 + 1;

/**
 * Makes the frames that Whisper hears: power of a 25 ms window every 10 ms, in mel bands, as a logarithm cut 80 dB below the
 * loudest and brought near [-1, 1].
 *
 * @param samples  mono audio at 16 kHz, in [-1, 1]
 * @returns numBins rows of one number every 10 ms
 * @throws HeddleError "config" for too few samples or bands
 * @see Radford et al. 2022, Whisper, arXiv:2212.04356, section 2.2. Bands: Slaney's mel scale, each of area 1
 */
export function logMel(samples: Float32Array, options: LogMelOptions = {}): LogMel {
  const { numBins = 80, numSamples = 30 * sampleRate } = options;
  const length = numSamples === "given" ? samples.length : numSamples;
  if (
    !Number.isSafeInteger(length) ||
    length < windowLength ||
    !Number.isSafeInteger(numBins) ||
    numBins < 1
  ) {
    const message = `logMel: at least ${windowLength} samples and one band are needed; got ${length} samples, numBins ${numBins}. Leave numSamples out for 30 s.`;
    throw new HeddleError("config", message, { length, numBins });
  }
  const numFrames = Math.floor(length / hop);
  const filters = melFilters(numBins);
  const spectrum = createPowerSpectrum(windowLength);
  const logs = new Float64Array(numBins * numFrames);
  const frame = new Float64Array(windowLength);
  let loudest = Number.NEGATIVE_INFINITY;
  for (let t = 0; t < numFrames; t++) {
    for (let n = 0; n < windowLength; n++) {
      const at = mirrored(t * hop + n - windowLength / 2, length);
      frame[n] = hann(n) * (samples[at] ?? 0);
    }
    const power = spectrum(frame);
    for (let bin = 0; bin < numBins; bin++) {
      let energy = 0;
      for (let k = 0; k < numFrequencies; k++) energy += (filters[bin]?.[k] ?? 0) * (power[k] ?? 0);
      const log = Math.log10(Math.max(energy, 1e-10));
      logs[bin * numFrames + t] = log;
      loudest = Math.max(loudest, log);
    }
  }
  const data = Float32Array.from(logs, (log) => (Math.max(log, loudest - 8) + 4) / 4);
  return { data, shape: [1, numBins, numFrames] };
}

/** The periodic Hann window. */
function hann(n: number): number {
  return 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / windowLength);
}

/** Before the first and after the last sample the audio runs backwards. */
function mirrored(at: number, length: number): number {
  const inside = Math.abs(at);
  return inside < length ? inside : 2 * (length - 1) - inside;
}

/**
 * Triangles over the frequencies 0, 40, .. 8000 Hz, evenly spaced in mels, each of area 1: numBins rows of 201.
 *
 * @see Slaney 1998, Auditory Toolbox, version 2
 */
export function melFilters(numBins: number): readonly Float64Array[] {
  const top = hertzToMel(sampleRate / 2);
  const edges = Array.from({ length: numBins + 2 }, (_, at) => melToHertz((top * at) / (numBins + 1)));
  return Array.from({ length: numBins }, (_, bin) => {
    const [low = 0, middle = 0, high = 0] = edges.slice(bin, bin + 3);
    return Float64Array.from({ length: numFrequencies }, (__, k) => {
      const frequency = (k * sampleRate) / windowLength;
      const height = Math.min((frequency - low) / (middle - low), (high - frequency) / (high - middle));
      return (Math.max(0, height) * 2) / (high - low);
    });
  });
}

/** Linear up to 1000 Hz, then logarithmic: 27 mels for a factor of 6.4. */
const mel = { perHertz: 3 / 200, corner: 15, step: Math.log(6.4) / 27 };

function hertzToMel(hertz: number): number {
  return hertz < 1000 ? hertz * mel.perHertz : mel.corner + Math.log(hertz / 1000) / mel.step;
}

function melToHertz(mels: number): number {
  return mels < mel.corner ? mels / mel.perHertz : 1000 * Math.exp((mels - mel.corner) * mel.step);
}

/**
 * Makes a function from `length` real samples to the squared magnitudes of frequencies 0..length / 2.
 *
 * @see Cooley and Tukey 1965: the transform of a length with factor p is p transforms of the p-th part
 */
export function createPowerSpectrum(length: number): (samples: Float64Array) => Float64Array {
  const cosines = Float64Array.from({ length }, (_, n) => Math.cos((2 * Math.PI * n) / length));
  const sines = Float64Array.from({ length }, (_, n) => -Math.sin((2 * Math.PI * n) / length));
  const factorOf = (n: number) => [2, 3, 5, 7].find((p) => n % p === 0) ?? n;
  /** Transform of every `stride`-th sample from `start` on: real parts, then imaginary ones. */
  const transform = (
    samples: Float64Array,
    start: number,
    stride: number,
  ): readonly [Float64Array, Float64Array] => {
    const n = length / stride;
    if (n === 1) return [Float64Array.of(samples[start] ?? 0), new Float64Array(1)];
    const p = factorOf(n);
    const m = n / p;
    const parts = Array.from({ length: p }, (_, part) =>
      transform(samples, start + part * stride, stride * p),
    );
    const [real, imaginary] = [new Float64Array(n), new Float64Array(n)];
    for (let k = 0; k < n; k++) {
      for (const [part, [re, im]] of parts.entries()) {
        const turn = (part * k * stride) % length;
        const [c, s] = [cosines[turn] ?? 0, sines[turn] ?? 0];
        const [x, y] = [re[k % m] ?? 0, im[k % m] ?? 0];
        real[k] = (real[k] ?? 0) + x * c - y * s;
        imaginary[k] = (imaginary[k] ?? 0) + x * s + y * c;
      }
    }
    return [real, imaginary];
  };
  return (samples) => {
    const [real, imaginary] = transform(samples, 0, 1);
    return Float64Array.from(
      { length: length / 2 + 1 },
      (_, k) => (real[k] ?? 0) ** 2 + (imaginary[k] ?? 0) ** 2,
    );
  };
}
