/**
 * A push to the subscribers of one variant of a service, as a value: how it is sent is up to an encoding. `count`: how many instances the list has by then.
 * `difference`: the fields `"put":[…],"remove":[…]` of a JSON object. `instances`: a JSON array.
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
      readonly instances: string;
    };
