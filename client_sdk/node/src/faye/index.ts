// The engine that puts a Faye server on pixied:
// `new faye.NodeAdapter({mount: '/faye', engine: {type: require('pixied-client/faye'), address: '127.0.0.1:50051'}})`.
import { FayeEngine, type FayeEngineOptions } from './engine';
import type { FayeServer } from './server';

/** What Faye calls to have its engine. */
export function create(server: FayeServer, options?: FayeEngineOptions): FayeEngine {
  return new FayeEngine(server, options);
}

export { FayeEngine };
export type { FayeEngineOptions };
export type { FayeMessage, FayeServer } from './server';
