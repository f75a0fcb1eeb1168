import { highestOf } from '../protocol/extremes.ts';

/** A kind of record as it lies in a batch: the number of its kind, then the names of its fields, in order. */
export type RecordShape = readonly [kind: number, ...fields: string[]];

export type RecordShapes = Readonly<Record<string, RecordShape>>;

/** The records of a shape. `Values`: what each name stands for, whichever record it is in. */
export type RecordOf<Shape extends RecordShape, Values> = {
  -readonly [At in keyof Shape]: Shape[At] extends keyof Values ? Values[Shape[At]] : Shape[At];
};

/** The number of each kind, by its name. */
export type KindsOf<Shapes extends RecordShapes> = { readonly [Name in keyof Shapes]: Shapes[Name][0] };

/** Where each field of a shape lies in its records. */
type PlacesOf<Shape extends RecordShape> = {
  readonly [
    At in Extract<keyof Shape, `${number}`> as Extract<Shape[At], string>
  ]: At extends `${infer Place extends number}` ? Place : never;
};

/** Where each field lies, by the names of kind and field: `record[fields.applied.version]`. */
export type FieldsOf<Shapes extends RecordShapes> = { readonly [Name in keyof Shapes]: PlacesOf<Shapes[Name]> };

export function listKinds<Shapes extends RecordShapes>(shapes: Shapes): KindsOf<Shapes> {
  return Object.fromEntries(Object.entries(shapes).map(([name, [kind]]) => [name, kind])) as KindsOf<Shapes>;
}

export function locateFields<Shapes extends RecordShapes>(shapes: Shapes): FieldsOf<Shapes> {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, [, ...fields]]) => [
      name,
      Object.fromEntries(fields.map((field, index) => [field, index + 1])),
    ]),
  ) as FieldsOf<Shapes>;
}

/** The lengths of records, by their kind; 0: there is no such kind. */
export function measureShapes(shapes: RecordShapes): readonly number[] {
  const all = Object.values(shapes);
  const lengths = Array.from({ length: 1 + highestOf(all.map(([kind]) => kind)) }, () => 0);
  for (const shape of all) {
    const [kind] = shape;
    if (lengths[kind] !== 0) throw new Error(`two shapes of record have the kind ${kind}`);
    lengths[kind] = shape.length;
  }
  return lengths;
}
