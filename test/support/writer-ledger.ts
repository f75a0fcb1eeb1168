import assert from 'node:assert/strict';

/** What is known from outside, over all lives of a writer. */
export class WriterLedger {
  /** The last number that was acknowledged for each place, and all that were asked since. */
  readonly acknowledged: Map<number, number> = new Map();
  lastVersion = 0;
  acknowledgements = 0;
  refusals = 0;
  readonly complaints: string[] = [];

  note(line: string): void {
    const [kind, first = '', second = ''] = line.split(' ');
    switch (kind) {
      case 'found':
        this.#checkFound(JSON.parse(line.slice('found '.length)) as Record<string, [number: number, version: number]>);
        return;
      case 'stored':
        assert(Number(second) > this.lastVersion);
        this.lastVersion = Number(second);
        this.acknowledged.set(Number(first) % 20, Number(first));
        this.acknowledgements += 1;
        return;
      case 'refused':
        assert.equal(second, 'storage_unavailable');
        this.refusals += 1;
        return;
      default:
        this.complaints.push(line);
    }
  }

  #checkFound(found: Record<string, [number: number, version: number]>): void {
    for (const [place, number] of this.acknowledged) {
      // A later one may have been stored, and its writer killed before it could say so.
      assert(found[`${place}/a`]![0] >= number);
    }
    for (const [key, [number, version]] of Object.entries(found)) {
      const half = key.endsWith('a') ? 'b' : 'a';
      assert.deepEqual(found[`${key.slice(0, -1)}${half}`], [number, version]);
      this.lastVersion = Math.max(this.lastVersion, version);
    }
  }
}
