import type { Scenario } from '../scenario.ts';
import { hotService, manyServices, steadyChurn } from './churns.ts';
import { idleDensity } from './idle-density.ts';
import { million } from './million.ts';
import { reconnectStorm } from './reconnect-storm.ts';
import { registerStorm } from './register-storm.ts';
import { restart } from './restart.ts';
import { rollingDeploy } from './rolling-deploy.ts';
import { slowConsumers } from './slow-consumers.ts';

export const scenarios: readonly Scenario[] = [
  registerStorm,
  steadyChurn,
  hotService,
  manyServices,
  rollingDeploy,
  reconnectStorm,
  slowConsumers,
  idleDensity,
  million,
  restart,
];
