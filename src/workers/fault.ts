import type { Fault } from './messages.ts';

/** For tests: makes this thread fail, in one of the ways in which threads do. */
export function inflictFault(fault: Fault): void {
  switch (fault) {
    case 'throw':
      // Out of reach of whoever called: an uncaught exception.
      setImmediate(() => {
        throw new Error('a fault was asked for');
      });
      return;
    case 'exit':
      process.exit(3);
      return;
    case 'hang':
      for (;;);
    case 'memory': {
      const hoard: number[][] = [];
      for (;;) hoard.push(Array.from({ length: 100_000 }, (_, i) => i + hoard.length / 3));
    }
    default:
      fault satisfies never;
  }
}
