/** One function under measurement. */
export interface MicroCase {
  /** How many operations one `run` does; figures are for one operation. */
  readonly operations: number;
  /** Before each `run`, outside of the time that is taken. */
  readonly prepare?: () => void;
  readonly run: () => void | Promise<void>;
  readonly stop?: () => void;
}

let sum = 0;

/** Results end up here, so that the compiler cannot find out that nobody wants them. */
export function sink(value: number): void {
  sum = (sum + value) | 0;
}
