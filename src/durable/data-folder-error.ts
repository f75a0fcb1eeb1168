/** The folder of the store cannot be used: another process has it, or a newer version has written it. */
export class DataFolderError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DataFolderError';
  }
}
