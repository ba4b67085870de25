// pixied-client: operations of pixied as single calls, and front-ends that serve many clients over two streams.
export { Admin } from './admin';
export type { ChannelFilter, ClientFilter, ServerInfo } from './admin';
export type { Attachment, AttachHandlers, AttachOptions, Batch, DeliveryInfo, Detached } from './attachment';
export { Backend } from './backend';
export type { DeliveredMessages, DeliverOptions, Events, WatchOptions } from './backend';
export type { StreamOptions } from './calls';
export { DEFAULT_ADDRESS } from './connection';
export type { ConnectionOptions } from './connection';
export * from './errors';
export { FrontEnd } from './front_end';
export type { FrontEndEvents, FrontEndOptions } from './front_end';
export type { WatchListener } from './kept_watch';
export { jsonMessage, valueOf } from './messages';
export type { NewMessage } from './messages';
export { DEFAULT_TIMEOUT_MS, REPEATABLE } from './operations';
export type {
  CallOptions,
  ClientIdPage,
  ClientInfo,
  DequeueOptions,
  Messages,
  NewClient,
  OperationName,
  PageOptions,
  Ping,
} from './operations';
export type { Page } from './pages';
export type { Channel, Counters, Holdings } from '../generated/pixied/v1/admin_service';
export type { Welcome } from '../generated/pixied/v1/attach';
export { AckMode } from '../generated/pixied/v1/message';
export type { Closing, Gap, Message } from '../generated/pixied/v1/message';
export type { PublishResult, QueueForResponse } from '../generated/pixied/v1/operations';
export { EventKind } from '../generated/pixied/v1/watch';
export type { Event } from '../generated/pixied/v1/watch';
