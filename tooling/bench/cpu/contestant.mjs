// The side of a contestant: it says once what it is, and answers each "run" with what one round took.

/** Serves rounds over the channel to the parent; the first two are for warming up and are not sent. */
export async function serve(description, round) {
  await round();
  await round();
  process.on("message", async () => process.send(await round()));
  process.send(description);
}
