/** I/O threads of the servers under test: the suites run once without, and the conformance suites once more with some. */
export const ioThreads: number = Number(process.env['TEST_IO_THREADS'] ?? 0);
