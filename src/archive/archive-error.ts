/** A file that cannot be read as what it should be. The message says where, as far as that is known. */
export class ArchiveError extends Error {
  constructor(message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'ArchiveError';
  }
}
