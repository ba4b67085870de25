// One HTTP/2 connection to a pixied, and how a call goes over it.
import { isIPv4, isIPv6 } from 'node:net';

import { Client, connectivityState, credentials, type ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';

import { Unavailable, type PixiedError } from './errors';

const MEBIBYTE = 1024 * 1024;

/**
 * Keepalive pings come no more often than every 30 s: a server cuts off clients that ping more often than it allows,
 * and pixied allows 10 s. Frames are about 1 MB, or one message, which the server's operator may have made larger.
 * grpc-js would buffer what is written to a stream so that it could send it again; we do that ourselves, and know when.
 */
const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_receive_message_length': 32 * MEBIBYTE,
  'grpc.max_send_message_length': 32 * MEBIBYTE,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
};

/** Where pixied listens by default. */
export const DEFAULT_ADDRESS = '127.0.0.1:50051';

/** How a connection is made. */
export interface ConnectionOptions {
  /** grpc-js's credentials, such as `credentials.createSsl()`. Default: none, and no encryption. */
  readonly credentials?: ChannelCredentials | undefined;
}

/** A connection and the address it goes to. */
export interface Connection {
  readonly address: string;
  readonly client: Client;
}

/**
 * Prepares a connection; it is made when the first call needs it.
 *
 * @param address `host:port`, `unix:///path`, or several of `ip:port` with commas between, of pixieds over one store: it
 *   goes to the first that answers, and when that is lost to the first that answers then.
 * @throws RangeError if several addresses have names in them.
 */
export function connectTo(address: string, options: ConnectionOptions = {}): Connection {
  const access = options.credentials ?? credentials.createInsecure();
  return { address, client: new Client(targetOf(address), access, CHANNEL_OPTIONS) };
}

/** gRPC's name for an address. It tries the addresses of one name in turn (`pick_first`), and knows lists of IP ones only. */
function targetOf(address: string): string {
  if (!address.includes(',') || /^ipv[46]:/.test(address)) return address;
  const several = address.split(',').map((each) => each.trim());
  const hosts = several.map((each) => /^\[?(.+?)\]?:\d+$/.exec(each)?.[1] ?? '');
  if (hosts.every(isIPv4)) return `ipv4:${several.join(',')}`;
  if (hosts.every(isIPv6)) return `ipv6:${several.join(',')}`;
  throw new RangeError(
    `several addresses are IP addresses of one kind with ports, as in 10.0.0.1:50051,10.0.0.2:50051, not ${address}; ` +
      'a name that stands for several addresses needs no list',
  );
}

/**
 * Waits until the connection stands, so that whatever is written to a stream after that has a way out. grpc-js tries
 * again by itself, with exponential backoff; this ends when one attempt succeeds, or when the connection is closed.
 *
 * @param failed called at each attempt that failed.
 */
export function standing({ client, address }: Connection, failed: (error: PixiedError) => void): Promise<void> {
  const channel = client.getChannel();
  return new Promise((resolve) => {
    const look = (): void => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY || state === connectivityState.SHUTDOWN) return resolve();
      if (state === connectivityState.TRANSIENT_FAILURE) failed(new Unavailable(address, 'nothing answers there'));
      channel.watchConnectivityState(state, Infinity, look);
    };
    look();
  });
}
