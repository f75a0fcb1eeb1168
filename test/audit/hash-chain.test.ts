import fc from 'fast-check';
import { expect, test } from 'vitest';

import { encodeRecord } from '../../src/audit/audit-record.ts';
import { ChainCheck } from '../../src/audit/chain-check.ts';
import { chainStart, sealLine } from '../../src/audit/hash-chain.ts';
import type { ChainHead } from '../../src/audit/hash-chain.ts';
import { auditActs } from '../../src/protocol/audit-acts.ts';

const text = fc.string({ unit: 'binary', maxLength: 20 });
const record = fc.record({
  actor: fc.record({ principal: text, address: text, session: text }, { requiredKeys: ['principal', 'address'] }),
  what: fc.constantFrom(...auditActs.filter((act) => act !== 'audit.file')),
  target: fc.record({ name: text }),
  outcome: fc.constantFrom('done' as const, 'unknown' as const),
});
/** Files of an audit log, each as its lines. */
const files = fc
  .array(fc.array(record, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 })
  .map((written) => {
    let head: ChainHead = chainStart;
    const append = (body: string): string => {
      const sealed = sealLine(head, body);
      head = sealed.head;
      return sealed.line;
    };
    return written.map((records, at) => {
      const target = { file: `file ${at}`, after: head.hash };
      const actor = { principal: 'server', address: '' };
      const first = append(encodeRecord({ actor, what: 'audit.file', target, outcome: 'done' }, 0));
      return [first, ...records.map((each) => append(encodeRecord(each, 1)))].map((line) => Buffer.from(line));
    });
  });

function check(log: readonly (readonly Buffer[])[]): ChainCheck {
  const chain = new ChainCheck();
  for (const [at, lines] of log.entries()) {
    chain.beginFile(`file ${at}`);
    let rest = Buffer.concat(lines);
    for (let end = rest.indexOf('\n'); end !== -1; end = rest.indexOf('\n')) {
      chain.take(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
    }
    chain.endFile(rest.length);
  }
  return chain;
}

/** Changes the log at one line, counted over all files. */
function edit(
  log: readonly (readonly Buffer[])[],
  at: number,
  change: (lines: Buffer[], i: number) => void,
): Buffer[][] {
  let before = 0;
  return log.map((lines) => {
    const copy = [...lines];
    const i = at - before;
    if (i >= 0 && i < lines.length) change(copy, i);
    before += lines.length;
    return copy;
  });
}

const size = (log: readonly (readonly Buffer[])[]): number => log.reduce((sum, { length }) => sum + length, 0);

test('[AU2] a log as it was written is right, and so is one whose first files have been removed', () => {
  fc.assert(
    fc.property(files, fc.nat(), (log, removed) => {
      const whole = check(log);
      expect(whole.firstBreak).toBeUndefined();
      expect([whole.firstSeq, whole.lines, whole.head.seq]).toEqual([1, size(log), size(log)]);
      const kept = log.slice(removed % log.length);
      const rest = check(kept);
      expect(rest.firstBreak).toBeUndefined();
      expect(rest.head).toEqual(whole.head);
      expect(rest.firstSeq).toBe(1 + size(log) - size(kept));
    }),
  );
});

test('[AU2] a byte that is another is found', () => {
  fc.assert(
    fc.property(files, fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), (log, line, byte, other) => {
      const changed = edit(log, line % size(log), (lines, i) => {
        const bytes = Buffer.from(lines[i]!);
        bytes[byte % bytes.length]! ^= other;
        lines[i] = bytes;
      });
      const { firstBreak, tornBytes } = check(changed);
      // Without its end the last line counts as cut off.
      expect(firstBreak !== undefined || tornBytes > 0).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test('[AU2] a line that is missing is found, but for the last ones', () => {
  fc.assert(
    fc.property(files, fc.nat(), (log, line) => {
      const at = line % size(log);
      const { firstBreak } = check(edit(log, at, (lines, i) => lines.splice(i, 1)));
      expect(firstBreak === undefined).toBe(at === size(log) - 1);
    }),
  );
});

test('[AU2] what is cut off at the end is not found, and what was the last line then has another hash', () => {
  fc.assert(
    fc.property(files, fc.nat(), (log, cut) => {
      const left = cut % size(log);
      let before = 0;
      const shorter = log.flatMap((lines) => {
        const kept = lines.slice(0, Math.max(0, left - before));
        before += lines.length;
        return kept.length === 0 ? [] : [kept];
      });
      const chain = check(shorter);
      expect(chain.firstBreak).toBeUndefined();
      expect(chain.head.hash).not.toBe(check(log).head.hash);
    }),
  );
});

test('[AU2] lines that have changed places, and lines that were put in, are found', () => {
  fc.assert(
    fc.property(files, fc.nat(), fc.nat(), record, (log, one, other, strange) => {
      const all = log.flat();
      const [at, from] = [one % all.length, other % all.length];
      fc.pre(at !== from);
      const swapped = edit(
        edit(log, at, (lines, i) => (lines[i] = all[from]!)),
        from,
        (lines, i) => (lines[i] = all[at]!),
      );
      expect(check(swapped).firstBreak).toBeDefined();
      const doubled = edit(log, at, (lines, i) => lines.splice(i + 1, 0, all[from]!));
      expect(check(doubled).firstBreak).toBeDefined();
      const { line } = sealLine({ seq: at + 1, hash: 'f'.repeat(64) }, encodeRecord(strange, 2));
      expect(check(edit(log, at, (lines, i) => lines.splice(i + 1, 0, Buffer.from(line)))).firstBreak).toBeDefined();
    }),
  );
});

test('[AU2] it says in which file and line the chain is broken', () => {
  const [log] = fc.sample(
    files.filter((each) => each.length > 2),
    1,
  );
  const changed = log!.map((lines, at) => (at === 1 ? [lines[0]!, Buffer.from('{}\n'), ...lines.slice(2)] : lines));
  expect(check(changed).firstBreak).toMatchObject({ file: 'file 1', line: 2 });
  const emptied = log!.map((lines, at) => (at === 1 ? [] : lines));
  expect(check(emptied).firstBreak).toMatchObject({ file: 'file 1', line: 1 });
});
