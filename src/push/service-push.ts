/**
 * A push to the subscribers of one variant of a service, as a value: how it is sent is up to an encoding. `count`: how many instances the list has by then.
 * `difference` and `list` are fields of a JSON object: `"put":[…],"remove":[…]`, or
 * `"instances":[…]`, and `"closed":true` of a service that an operator has closed.
 */
export type ServicePush =
  | {
      readonly kind: 'delta';
      /** The service's key. */
      readonly key: string;
      readonly count: number;
      readonly from: number;
      readonly to: number;
      readonly difference: string;
    }
  | {
      readonly kind: 'snapshot';
      readonly key: string;
      readonly count: number;
      readonly to: number;
      readonly list: string;
    };
