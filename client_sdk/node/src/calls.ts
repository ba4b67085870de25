// Single calls over a connection, with deadlines, errors as classes, and retries where they are safe.
import { setTimeout as delay } from 'node:timers/promises';

import { Metadata, type MethodDefinition, status as Code } from '@grpc/grpc-js';

import { Backoff, RETRY } from './backoff';
import type { Connection } from './connection';
import { fromServiceError, PixiedError } from './errors';
import { DEFAULT_TIMEOUT_MS, type CallOptions } from './operations';

/** How a stream of answers is read. */
export interface StreamOptions {
  /** Ends the stream when it aborts; leaving the loop does so too. */
  readonly signal?: AbortSignal | undefined;
}

/** Makes one call. Rejects with a `PixiedError`. */
export function callOnce<Q, R>(
  connection: Connection,
  method: MethodDefinition<Q, R>,
  request: Q,
  timeoutMs: number,
): Promise<R> {
  return new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = method;
    const options = { deadline: Date.now() + timeoutMs };
    const target = { address: connection.address, name: path, timeoutMs };
    connection.client.makeUnaryRequest<Q, R>(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      options,
      (error, response) => (error ? reject(fromServiceError(error, target)) : resolve(response!)),
    );
  });
}

/** Makes one call, and makes it again while pixied cannot be reached and the deadline allows it. */
export async function callRepeatedly<Q, R>(
  connection: Connection,
  method: MethodDefinition<Q, R>,
  request: Q,
  options: CallOptions | undefined,
): Promise<R> {
  const deadline = Date.now() + (options?.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const backoff = new Backoff(RETRY);
  for (;;) {
    try {
      return await callOnce(connection, method, request, deadline - Date.now());
    } catch (error) {
      // The server's delay is the least; the jitter comes on top, for it gives all clients the same.
      const wait = worthRepeating(error) ? (error.retryAfterMs ?? 0) + backoff.next() : Infinity;
      if (Date.now() + wait >= deadline) throw error;
      await delay(wait);
    }
  }
}

/** Reads a stream of answers. Throws a `PixiedError` when it breaks; ends quietly when the signal aborts it. */
export async function* readStream<Q, R>(
  connection: Connection,
  method: MethodDefinition<Q, R>,
  request: Q,
  { signal }: StreamOptions,
): AsyncGenerator<R, void, undefined> {
  if (signal?.aborted) return;
  const { path, requestSerialize, responseDeserialize } = method;
  const { client, address } = connection;
  const call = client.makeServerStreamRequest<Q, R>(path, requestSerialize, responseDeserialize, request);
  const cancel = (): void => call.cancel();
  signal?.addEventListener('abort', cancel);
  try {
    for await (const response of call) yield response as R;
  } catch (error) {
    if (!signal?.aborted) throw fromServiceError(error as never, { address, name: path });
  } finally {
    signal?.removeEventListener('abort', cancel);
    call.cancel();
  }
}

function worthRepeating(error: unknown): error is PixiedError {
  return error instanceof PixiedError && error.code === Code.UNAVAILABLE;
}
