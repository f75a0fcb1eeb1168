/** The command line asks for what cannot be. */
export class UsageError extends Error {
  override readonly name: string = 'UsageError';
}

/** The bench cannot continue: a server or a load process is missing or failed. */
export class SetupError extends Error {
  override readonly name: string = 'SetupError';
  /** Nobody answers where the server should be. */
  readonly isUnreachable: boolean;

  constructor(message: string, isUnreachable = false) {
    super(message);
    this.isUnreachable = isUnreachable;
  }
}

/** Somebody pressed Ctrl-C. */
export class InterruptedError extends Error {
  override readonly name: string = 'InterruptedError';
}
