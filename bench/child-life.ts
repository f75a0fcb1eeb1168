/** No bench process lives longer than this, whatever happens to its parent. */
const lifetimeMaxMs = 15 * 60_000;

/** Ends this process with its parent, or when its time is up. A parent that is killed closes the channel. */
export function endWithParent(): void {
  process.once('disconnect', () => process.exit(0));
  setTimeout(() => process.exit(1), lifetimeMaxMs).unref();
}
