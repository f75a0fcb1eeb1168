import type { JsonSchema } from './schemas.ts';

declare const described: unique symbol;

/** A JSON Schema of the values of a type. There is nothing of the type in it: it is there for the compiler, which lets a schema stand for no other type. */
export interface SchemaOf<T> extends JsonSchema {
  readonly [described]?: (value: T) => T;
}

/** A property that may be left out. */
interface Optional<T> {
  readonly optional: SchemaOf<T>;
}

/** A schema for each property, neither more nor fewer. */
type PropertiesOf<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? Optional<Exclude<T[K], undefined>> : SchemaOf<T[K]>;
};

export function amount(description: string): SchemaOf<number> {
  return { type: 'integer', minimum: 0, description };
}

export function text(description: string): SchemaOf<string> {
  return { type: 'string', description };
}

export function flag(description?: string): SchemaOf<boolean> {
  return { type: 'boolean', ...describe(description) };
}

/** One of some texts. */
export function choice<const T extends string>(values: readonly T[], description?: string): SchemaOf<T> {
  return { type: 'string', enum: values, ...describe(description) };
}

export function list<T>(items: SchemaOf<T>, description?: string): SchemaOf<readonly T[]> {
  return { type: 'array', ...describe(description), items };
}

/** Amounts by names that are not known beforehand. */
export function amounts<T extends Readonly<Record<string, number>>>(description: string): SchemaOf<T> {
  return { type: 'object', description, additionalProperties: { type: 'integer', minimum: 0 } };
}

export function optional<T>(schema: SchemaOf<T>): Optional<T> {
  return { optional: schema };
}

/** An object of an interface: every property of it is described, and no other is there. */
export function object<T>(properties: PropertiesOf<T>, description?: string): SchemaOf<T> {
  const entries: [string, JsonSchema | Optional<never>][] = Object.entries(properties);
  return {
    type: 'object',
    ...describe(description),
    properties: Object.fromEntries(
      entries.map(([name, schema]) => [name, isOptional(schema) ? schema.optional : schema]),
    ),
    required: entries.filter(([, schema]) => !isOptional(schema)).map(([name]) => name),
    additionalProperties: false,
  };
}

function isOptional(schema: JsonSchema | Optional<never>): schema is Optional<never> {
  return 'optional' in schema;
}

function describe(description: string | undefined): { readonly description?: string } {
  return description === undefined ? {} : { description };
}
