import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/**
 * Reads a file of LMDB without LMDB, which trusts its pages: a damaged one may crash the process. Here every page, offset and count is checked before it is used.
 * The layout is that of data version 2, little-endian with words of 64 bits, as `mdb.c` of npm's lmdb 3.5 writes it.
 */
export const pageBytes = 8192;

const magic = 0xbe_ef_c0_de;
const dataVersion = 2;
const metaFlag = 0x08;
const branchFlag = 0x01;
const leafFlag = 0x02;
const overflowFlag = 0x04;
/** Of a page: number (8 bytes), transaction (8), pad (2), flags (2), and where free space begins and ends (2 each), or how many pages there are (4). */
const headerBytes = 24;
const flagsAt = 18;
const lowerAt = 20;
const upperAt = 22;
/** Of a node: two halves of a size or page (2 each), flags (2), bytes of the key (2). */
const nodeBytes = 8;
const largeFlag = 0x01;
const tableFlag = 0x02;
/** What describes a tree: pad (4), flags (2), depth (2), pages of three kinds (8 each), entries (8), root (8). */
const treeBytes = 48;
const noPage = -1;
/** Keys that are numbers; and that of the file being no folder, which LMDB keeps beside it. */
const integerKeysFlag = 0x08;
const singleFileFlag = 0x4000;

interface Tree {
  readonly flags: number;
  readonly depth: number;
  readonly pages: readonly [branches: number, leaves: number, overflows: number];
  readonly entries: number;
  readonly root: number;
}

interface Meta {
  readonly transaction: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: number;
}

/** A value of a table, as it lies in the file. */
export type OnEntry = (table: string, key: Buffer, value: Buffer) => void;

/** What is wrong with the file, at most so many sentences. */
const problemsMax = 20;

/** Calls back for every entry that can be read; returns what is wrong, in words. An empty list: every entry is there, and LMDB may open the file. */
export function readLmdbFile(path: string, onEntry: OnEntry): string[] {
  const descriptor = openSync(path, 'r');
  try {
    return new LmdbFile(descriptor, onEntry).read();
  } finally {
    closeSync(descriptor);
  }
}

class LmdbFile {
  readonly #descriptor: number;
  readonly #onEntry: OnEntry;
  readonly #pageCount: number;
  readonly #problems: string[] = [];
  /** Pages that are in use: none may be used twice, or be free. */
  readonly #used: Set<number> = new Set([0, 1]);
  #lastPage = 0;
  #transaction = 0;

  constructor(descriptor: number, onEntry: OnEntry) {
    this.#descriptor = descriptor;
    this.#onEntry = onEntry;
    this.#pageCount = Math.floor(fstatSync(descriptor).size / pageBytes);
  }

  read(): string[] {
    const meta = this.#chooseMeta();
    if (meta === undefined) return this.#problems;
    this.#lastPage = meta.lastPage;
    this.#transaction = meta.transaction;
    if (meta.lastPage >= this.#pageCount) this.#report(`it ends before page ${meta.lastPage}`);
    const names: [string, Tree][] = [];
    this.#readTree('the list of tables', meta.main, (key, value, flags) => {
      if (flags === tableFlag && value.length === treeBytes)
        names.push([key.toString('latin1').replace(/\0$/, ''), readTreeRecord(value, 0)]);
      else this.#report('the list of tables has an entry that is none');
    });
    for (const [name, tree] of names) {
      if (tree.flags !== 0) this.#report(`table ${name} has unknown flags`);
      this.#readTree(`table ${name}`, tree, (key, value, flags) => {
        if (flags === 0) this.#onEntry(name, key, value);
        else this.#report(`table ${name} has an entry that is none`);
      });
    }
    this.#checkFree(meta.free);
    return this.#problems;
  }

  /** The newer of two, which the last two transactions have written in turn. */
  #chooseMeta(): Meta | undefined {
    const metas = [0, 1].map((page) => this.#readMeta(page));
    for (const meta of metas) if (meta !== undefined) this.#checkRoot(meta);
    const [first, second] = metas;
    if (first !== undefined && second !== undefined) {
      const isInTurn =
        Math.abs(first.transaction - second.transaction) === 1 || first.transaction + second.transaction === 0;
      const isInPlace = first.transaction % 2 === 0 && (second.transaction % 2 === 1 || second.transaction === 0);
      if (!isInTurn || !isInPlace) this.#report('the last two transactions do not follow each other');
      return first.transaction > second.transaction ? first : second;
    }
    return first ?? second;
  }

  /** Every transaction writes a new root, so the number that the page has shows whether that of the transaction is right: with another, an older state could pass for the newer. */
  #checkRoot({ main, transaction }: Meta): void {
    if (main.root === noPage && transaction === 0) return;
    const isWithin = Number.isSafeInteger(main.root) && main.root > 1 && main.root < this.#pageCount;
    const page = isWithin ? this.#readPages(main.root, 1) : undefined;
    if (page === undefined || readWord(page, 8) !== transaction) this.#report(`transaction ${transaction} has no root`);
  }

  #readMeta(page: number): Meta | undefined {
    const bytes = this.#readPages(page, 1);
    const isMeta =
      bytes !== undefined &&
      readWord(bytes, 0) === page &&
      bytes.readUInt16LE(flagsAt) === metaFlag &&
      bytes.readUInt32LE(headerBytes) === magic &&
      bytes.readUInt32LE(headerBytes + 4) === dataVersion &&
      bytes.readUInt32LE(headerBytes + 24) === pageBytes;
    if (!isMeta) {
      this.#report(`page ${page}, which says where everything is, is none`);
      return undefined;
    }
    const free = readTreeRecord(bytes, headerBytes + 24);
    const main = readTreeRecord(bytes, headerBytes + 24 + treeBytes);
    if (free.flags !== (integerKeysFlag | singleFileFlag) || main.flags !== 0)
      this.#report(`page ${page} has unknown flags`);
    const rest = headerBytes + 24 + 2 * treeBytes;
    return { free, main, lastPage: readWord(bytes, rest), transaction: readWord(bytes, rest + 8) };
  }

  #readTree(name: string, tree: Tree, onNode: (key: Buffer, value: Buffer, flags: number) => void): void {
    const counts: [number, number, number] = [0, 0, 0];
    let entries = 0;
    let last: Buffer | undefined;
    const isOrdered = (tree.flags & integerKeysFlag) === 0;
    const visit = (page: number, depth: number): void => {
      const bytes = this.#usePage(name, page, 1, depth === 1 ? leafFlag : branchFlag);
      if (bytes === undefined) return;
      counts[depth === 1 ? 1 : 0] += 1;
      for (const [at, node] of this.#readNodes(name, page, bytes).entries()) {
        if (depth > 1) {
          // The first key of a branch is left out, or has no meaning.
          if (at > 0 && isOrdered && last !== undefined && Buffer.compare(last, node.key) >= 0)
            this.#report(`${name} is not in order`);
          visit(node.size + node.flags * 2 ** 32, depth - 1);
          continue;
        }
        if (isOrdered && last !== undefined && Buffer.compare(last, node.key) >= 0)
          this.#report(`${name} is not in order`);
        last = Buffer.from(node.key);
        const value = this.#readValue(name, bytes, node);
        if (value === undefined) continue;
        if ((node.flags & largeFlag) !== 0) counts[2] += overflowPages(node.size);
        entries += 1;
        onNode(last, value, node.flags & ~largeFlag);
      }
    };
    if (tree.root !== noPage) {
      if (tree.depth < 1 || tree.depth > 32) this.#report(`${name} is too deep`);
      else visit(tree.root, tree.depth);
    }
    if (entries !== tree.entries) this.#report(`${name} has ${entries} entries rather than ${tree.entries}`);
    if (counts.some((count, kind) => count !== tree.pages[kind]))
      this.#report(`${name} has other pages than it should`);
  }

  #readNodes(
    name: string,
    page: number,
    bytes: Buffer,
  ): { key: Buffer; flags: number; size: number; valueAt: number }[] {
    const lower = bytes.readUInt16LE(lowerAt);
    const upper = bytes.readUInt16LE(upperAt);
    if (lower % 2 !== 0 || lower > upper || headerBytes + upper > pageBytes) {
      this.#report(`page ${page} of ${name} has no valid bounds`);
      return [];
    }
    const nodes: { key: Buffer; flags: number; size: number; valueAt: number }[] = [];
    for (let at = headerBytes; at < headerBytes + lower; at += 2) {
      const nodeAt = headerBytes + bytes.readUInt16LE(at);
      const keyAt = nodeAt + nodeBytes;
      const keyBytes = keyAt <= pageBytes ? bytes.readUInt16LE(nodeAt + 6) : 0;
      if (nodeAt < headerBytes + upper || keyAt + keyBytes > pageBytes) {
        this.#report(`page ${page} of ${name} has an entry out of its bounds`);
        continue;
      }
      const size = bytes.readUInt16LE(nodeAt) + bytes.readUInt16LE(nodeAt + 2) * 2 ** 16;
      const key = bytes.subarray(keyAt, keyAt + keyBytes);
      nodes.push({ key, flags: bytes.readUInt16LE(nodeAt + 4), size, valueAt: keyAt + keyBytes });
    }
    return nodes;
  }

  #readValue(
    name: string,
    bytes: Buffer,
    { flags, size, valueAt }: { flags: number; size: number; valueAt: number },
  ): Buffer | undefined {
    const isLarge = (flags & largeFlag) !== 0;
    if (valueAt + (isLarge ? 8 : size) > pageBytes) {
      this.#report(`a value of ${name} is out of its page`);
      return undefined;
    }
    if (!isLarge) return Buffer.from(bytes.subarray(valueAt, valueAt + size));
    const pages = overflowPages(size);
    const value = this.#usePage(name, readWord(bytes, valueAt), pages, overflowFlag);
    if (value === undefined) return undefined;
    if (value.readUInt32LE(lowerAt) !== pages) this.#report(`a large value of ${name} has other pages than it should`);
    return value.subarray(headerBytes, headerBytes + size);
  }

  #usePage(name: string, page: number, count: number, flags: number): Buffer | undefined {
    const isWithin = Number.isSafeInteger(page) && page > 1 && page + count - 1 <= this.#lastPage;
    const bytes = isWithin ? this.#readPages(page, count) : undefined;
    if (bytes === undefined) {
      this.#report(`${name} has a page that is not there`);
      return undefined;
    }
    for (let at = page; at < page + count; at++) {
      if (this.#used.has(at)) {
        this.#report(`${name} has a page that is used elsewhere`);
        return undefined;
      }
      this.#used.add(at);
    }
    if (
      readWord(bytes, 0) !== page ||
      bytes.readUInt16LE(flagsAt) !== flags ||
      readWord(bytes, 8) > this.#transaction
    ) {
      this.#report(`page ${page} of ${name} is another one`);
      return undefined;
    }
    return bytes;
  }

  /** What LMDB will write to next must not be in use. A run of free pages may be written as one entry, of their number below zero and the first of them. */
  #checkFree(tree: Tree): void {
    const free = new Set<number>();
    const take = (page: number): void => {
      if (this.#used.has(page) || free.has(page) || page < 2 || page > this.#lastPage) {
        this.#report('pages are free that must not be');
      }
      free.add(page);
    };
    const lists: Buffer[] = [];
    let last = 0;
    this.#readTree('the list of free pages', tree, (key, value) => {
      if (key.length !== 8 || value.length < 8 || value.length % 8 !== 0) {
        this.#report('the list of free pages has an entry that is none');
        return;
      }
      // LMDB looks for entries by the transactions that freed them: one that it does not find is used, and stays.
      const transaction = readWord(key, 0);
      if (transaction <= last || transaction > this.#transaction)
        this.#report('the list of free pages is not in order');
      last = transaction;
      lists.push(value);
    });
    for (const list of lists) {
      const count = readWord(list, 0);
      if (count < 0 || count * 8 + 8 > list.length) {
        this.#report('a list of free pages is too long');
        continue;
      }
      let run = 1;
      for (let at = 1; at <= count && this.#problems.length < problemsMax; at++) {
        const page = readWord(list, at * 8);
        if (page < 0) run = Math.min(-page, this.#pageCount + 1);
        else if (page > 0) {
          for (let i = 0; i < run; i++) take(page + i);
          run = 1;
        }
      }
    }
  }

  /** Undefined: the file ends before. */
  #readPages(page: number, count: number): Buffer | undefined {
    if (page + count > this.#pageCount) return undefined;
    const bytes = Buffer.allocUnsafe(count * pageBytes);
    const read = readSync(this.#descriptor, bytes, 0, bytes.length, page * pageBytes);
    return read === bytes.length ? bytes : undefined;
  }

  #report(problem: string): void {
    if (this.#problems.length < problemsMax && !this.#problems.includes(problem)) this.#problems.push(problem);
  }
}

function overflowPages(size: number): number {
  return Math.floor((headerBytes - 1 + size) / pageBytes) + 1;
}

function readTreeRecord(bytes: Buffer, at: number): Tree {
  return {
    flags: bytes.readUInt16LE(at + 4),
    depth: bytes.readUInt16LE(at + 6),
    pages: [readWord(bytes, at + 8), readWord(bytes, at + 16), readWord(bytes, at + 24)],
    entries: readWord(bytes, at + 32),
    root: readWord(bytes, at + 40),
  };
}

/** A word of 64 bits, with a sign; one that is too large for a number fails all checks as it is. */
function readWord(bytes: Buffer, at: number): number {
  return Number(bytes.readBigInt64LE(at));
}
