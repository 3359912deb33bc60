import type { WebGpuDevice } from "@heddle/gpu";

interface Encoder {
  finish(): object;
}

interface Native {
  createCommandEncoder(): Encoder;
  queue: { submit(commands: object[]): void };
}

/**
 * Milliseconds that this thread is busy with the commands of a run: from each new encoder to its end, and with what hands them to the driver.
 * Commands are recorded without a pause, so that all of the first is JavaScript and the calls that it makes.
 */
export async function submissionTimes(
  device: WebGpuDevice,
  run: () => Promise<void>,
): Promise<{ readonly recording: number; readonly submitting: number }> {
  const native = device.native as unknown as Native;
  const encoderKinds = Object.getPrototypeOf(native.createCommandEncoder()) as Encoder;
  const [deviceKind, queueKind] = [Object.getPrototypeOf(native), Object.getPrototypeOf(native.queue)] as [
    Native,
    Native["queue"],
  ];
  const { createCommandEncoder } = deviceKind;
  const { finish } = encoderKinds;
  const { submit } = queueKind;
  let [recording, submitting, began] = [0, 0, 0];
  deviceKind.createCommandEncoder = function () {
    began = performance.now();
    return createCommandEncoder.call(this);
  };
  encoderKinds.finish = function () {
    const before = performance.now();
    recording += before - began;
    const commands = finish.call(this);
    submitting += performance.now() - before;
    return commands;
  };
  queueKind.submit = function (commands) {
    const before = performance.now();
    submit.call(this, commands);
    submitting += performance.now() - before;
  };
  try {
    await run();
  } finally {
    Object.assign(deviceKind, { createCommandEncoder });
    Object.assign(encoderKinds, { finish });
    Object.assign(queueKind, { submit });
  }
  return { recording, submitting };
}
