/** Whether a host's registry is stopping. It never starts again. */
export class DrainState {
  #isDraining = false;

  get isDraining(): boolean {
    return this.#isDraining;
  }

  begin(): void {
    this.#isDraining = true;
  }
}
