import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js';

import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { JsonSchema } from '../protocol/schemas.ts';

const loneSurrogate = /\p{Cs}/u;

/** A test checks schemas against the meta-schema; compiling that one would take each thread as long as compiling all of the others. */
const ajv: Ajv2020 = new Ajv2020({ strict: true, discriminator: true, meta: false, validateSchema: false });
ajv.addKeyword({
  keyword: 'x-bytesMax',
  type: 'string',
  schemaType: 'number',
  validate: (max: number, text: string) => isWithinBytes(text, max),
  error: { message: ({ schema }) => `must be at most ${String(schema)} bytes of UTF-8` },
});
ajv.addKeyword({
  keyword: 'x-wellFormed',
  type: 'string',
  schemaType: 'boolean',
  validate: (_: true, text: string) => !loneSurrogate.test(text),
  error: { message: 'must not hold lone surrogates' },
});
ajv.addKeyword({
  keyword: 'x-totalBytesMax',
  type: 'object',
  schemaType: 'number',
  validate: (max: number, map: Record<string, unknown>) => {
    let left = max;
    for (const [key, value] of Object.entries(map)) left -= Buffer.byteLength(key) + Buffer.byteLength(String(value));
    return left >= 0;
  },
  error: { message: ({ schema }) => `must hold at most ${String(schema)} bytes of keys and values` },
});

ajv.addKeyword({
  keyword: 'x-regularExpression',
  type: 'string',
  schemaType: 'boolean',
  validate: (_: true, text: string) => isRegularExpression(text),
  error: { message: 'must be a regular expression' },
});

function isRegularExpression(text: string): boolean {
  try {
    return new RegExp(text) instanceof RegExp;
  } catch {
    return false;
  }
}

/** Two lengths of a value may be as many characters of base64, so it is the bytes that count. */
const valueBytesMax = 'x-valueBytesMax';
ajv.addKeyword({
  keyword: valueBytesMax,
  type: 'string',
  schemaType: 'number',
  validate: (max: number, value: string) => Buffer.byteLength(value, 'base64') <= max,
});

/** A UTF-16 unit is at most three bytes of UTF-8, so most texts need no counting. */
function isWithinBytes(text: string, max: number): boolean {
  return text.length * 3 <= max || Buffer.byteLength(text) <= max;
}

/** Checks values against a schema; says what is wrong, and where, as a failure. */
export type Validate<T> = (
  value: unknown,
) => { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

/** Checks against a schema of the protocol, compiled when the first value comes: a start does not wait for what is seldom asked. `T` is the type that it describes. */
export function createValidator<T>(schema: JsonSchema): Validate<T> {
  let validate: ValidateFunction<T> | undefined;
  return (value) => {
    validate ??= ajv.compile<T>(schema);
    return validate(value) ? { ok: true, value } : { ok: false, failure: describeInvalid(validate.errors?.at(-1)) };
  };
}

function describeInvalid(error: ErrorObject | undefined): Failure {
  if (error === undefined) throw new Error('a validator refused without saying why');
  const path = error.instancePath === '' ? 'params' : error.instancePath.slice(1).replaceAll('/', '.');
  const params: Record<string, unknown> = error.params;
  if (error.keyword === valueBytesMax) {
    const max = protocolLimits.keyValueBytesMax;
    return { code: 'limit_exceeded', message: `${path} has more than ${max} bytes`, limit: 'keyValueBytesMax', max };
  }
  if (error.keyword === 'discriminator') return describeUnknownKind(error, path);
  const extra = params.additionalProperty;
  if (typeof extra === 'string') {
    return invalid(
      `${error.instancePath}${pointTo(extra)}`,
      `${path} has an unknown field ${JSON.stringify(shorten(extra, 64))}`,
    );
  }
  const missing = params.missingProperty;
  if (typeof missing === 'string')
    return invalid(`${error.instancePath}/${missing}`, `${path} lacks the field ${missing}`);
  const name = params.propertyName;
  if (typeof name === 'string')
    return invalid(error.instancePath, `${path} has a key that is not allowed: ${JSON.stringify(shorten(name, 64))}`);
  return invalid(error.instancePath, `${path} ${error.message ?? 'is not valid'}`);
}

/** The field that tells which of several schemas an object is to have tells none. */
function describeUnknownKind({ instancePath, params }: ErrorObject, path: string): Failure {
  const { tag, tagValue } = params as { readonly tag: string; readonly tagValue?: unknown };
  const field = `${instancePath}/${tag}`;
  if (tagValue === undefined) return invalid(field, `${path} lacks the field ${tag}`);
  if (typeof tagValue !== 'string') return invalid(field, `${path}.${tag} must be string`);
  return invalid(field, `${path}.${tag} must not be ${JSON.stringify(shorten(tagValue, 64))}: there is no such ${tag}`);
}

/** A JSON pointer (RFC 6901) to a field of whatever name, of which it shows so much. */
export function pointTo(name: string): string {
  return `/${shorten(name, 64).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

function invalid(field: string, message: string): Failure {
  return { code: 'invalid_params', message: shorten(message, 512), field: shorten(field, 512) };
}

/** What a caller sent is echoed only in part, and no character in two. */
function shorten(text: string, charsMax: number): string {
  return text.length > charsMax ? `${text.slice(0, charsMax).replace(/\p{Cs}$/u, '')}…` : text;
}
