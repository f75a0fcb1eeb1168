import { Tokenizer, TokenParser, TokenType } from '@streamparser/json';
import type { ParsedTokenInfo } from '@streamparser/json/utils/types/parsedTokenInfo.js';

import { archiveLimits } from '../protocol/limits.ts';
import { ArchiveError } from './archive-error.ts';

/** What numbers are read as: a bigint where a number would be another one. */
export type JsonNumber = number | bigint;

export interface JsonElement {
  /** The name or the index under which its parent has it; undefined: it is a whole document. */
  readonly key: string | number | undefined;
  readonly value: unknown;
  /** Where it ends in the dump, in bytes. */
  readonly end: number;
}

/** Longer numbers are none that a registry has. */
const digitsMax = 40;

/** 64 bits do not fit into a number of JavaScript. */
class ExactTokenizer extends Tokenizer {
  protected override parseNumber(text: string): number {
    const number = Number(text);
    const isExact = Number.isSafeInteger(number) || !/^-?\d+$/.test(text) || text.length > digitsMax;
    // Whoever reads the elements knows of bigints; the parser passes on what it gets.
    return (isExact ? number : BigInt(text)) as number;
  }
}

function raise(error: Error): never {
  throw error;
}

/**
 * Picks elements out of a stream of JSON documents, one after the other, without holding more than one of them. `paths`: which ones, as `$.kvs.*`; see
 * `TokenParser`.
 */
export class JsonElements {
  readonly #tokenizer = new ExactTokenizer({ separator: '' });
  readonly #parser: TokenParser;
  #elements: JsonElement[] = [];
  #bytes = 0;
  #depth = 0;
  /** Where the last token was. */
  #offset = 0;
  /** Where the last element that was picked, or the last document, ended. */
  #start = 0;

  constructor(paths: string[]) {
    this.#parser = new TokenParser({ paths, keepStack: false, separator: '' });
    this.#tokenizer.onToken = (token) => this.#onToken(token);
    this.#parser.onValue = ({ key, value }) => {
      this.#elements.push({ key, value, end: this.#offset + 1 });
      this.#start = this.#offset + 1;
    };
    this.#tokenizer.onError = raise;
    this.#parser.onError = raise;
  }

  /** @throws ArchiveError if it is not JSON, or too large. */
  read(part: Uint8Array): readonly JsonElement[] {
    this.#guard(() => this.#tokenizer.write(part));
    this.#bytes += part.length;
    this.#checkSize(this.#bytes);
    return this.#drain();
  }

  /** @throws ArchiveError if it ends in the middle of something. */
  end(): readonly JsonElement[] {
    try {
      this.#tokenizer.end();
      this.#parser.end();
    } catch (error) {
      throw new ArchiveError(`it ends in the middle of its JSON, after ${this.#bytes} bytes`, { cause: error });
    }
    return this.#drain();
  }

  #onToken(token: ParsedTokenInfo & { readonly offset: number }): void {
    this.#offset = token.offset;
    if (token.token === TokenType.LEFT_BRACE || token.token === TokenType.LEFT_BRACKET) {
      if (this.#depth === 0) this.#start = token.offset;
      this.#depth += 1;
      if (this.#depth > archiveLimits.depthMax)
        throw new ArchiveError(`byte ${token.offset}: JSON is nested deeper than ${archiveLimits.depthMax}`);
    } else if (token.token === TokenType.RIGHT_BRACE || token.token === TokenType.RIGHT_BRACKET) {
      this.#depth -= 1;
    }
    this.#checkSize(token.offset);
    this.#parser.write(token);
  }

  #checkSize(end: number): void {
    if (end - this.#start > archiveLimits.elementBytesMax)
      throw new ArchiveError(`byte ${this.#start}: one element has more than ${archiveLimits.elementBytesMax} bytes`);
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (error instanceof ArchiveError) throw error;
      throw new ArchiveError(`it is not JSON, near byte ${this.#offset}`, { cause: error });
    }
  }

  #drain(): readonly JsonElement[] {
    const elements = this.#elements;
    this.#elements = [];
    return elements;
  }
}
