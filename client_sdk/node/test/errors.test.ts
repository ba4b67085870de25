// Errors as classes.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Metadata, status as Code, type ServiceError } from '@grpc/grpc-js';

import { BadRequest, ErrorInfo, RetryInfo } from '../generated/google/rpc/error_details';
import { Status } from '../generated/google/rpc/status';
import { ErrorReason } from '../generated/pixied/v1/errors';
import { ChannelInvalid, CLASSES, DeadlineExceeded, fromServiceError, fromStatus } from '../src/errors';
import { PixiedError, TooManyOperations, Unavailable } from '../src/errors';

const any = (type: string, value: Uint8Array) => ({ typeUrl: `type.googleapis.com/google.rpc.${type}`, value });

function status(reason: string, domain = 'pixied'): Status {
  const info = ErrorInfo.encode({ reason, domain, metadata: {} }).finish();
  return { code: Code.INVALID_ARGUMENT, message: 'what is wrong', details: [any('ErrorInfo', info)] };
}

describe('errors', () => {
  it('have one class for each reason of the contract', () => {
    const reasons = Object.values(ErrorReason).filter((name) => typeof name === 'string' && name !== 'UNSPECIFIED');
    assert.deepEqual(Object.keys(CLASSES).sort(), reasons.sort());
    assert.equal(new Set(Object.values(CLASSES)).size, reasons.length);
  });

  it('tell the reason, the code, the field and the delay that a status carries', () => {
    const violation = { field: 'channels[0]', description: '', reason: '', localizedMessage: undefined };
    const blame = BadRequest.encode({ fieldViolations: [violation] }).finish();
    const retry = RetryInfo.encode({ retryDelay: { seconds: 1, nanos: 5e8 } }).finish();
    const { details, ...rest } = status('CHANNEL_INVALID');
    const error = fromStatus({ ...rest, details: [...details, any('BadRequest', blame), any('RetryInfo', retry)] });
    assert(error instanceof ChannelInvalid);
    assert.deepEqual(
      [error.name, error.message, error.reason, error.code, error.field, error.retryAfterMs],
      ['ChannelInvalid', 'what is wrong', 'CHANNEL_INVALID', Code.INVALID_ARGUMENT, 'channels[0]', 1500],
    );
  });

  it('take reasons of a newer pixied, and other services, for what they are', () => {
    assert.equal(fromStatus(status('BRAND_NEW')).reason, 'BRAND_NEW');
    assert.equal(fromStatus(status('CLIENT_UNKNOWN', 'elsewhere')).reason, 'INVALID_ARGUMENT');
    assert.equal(fromStatus(status('CLIENT_UNKNOWN', 'elsewhere')).constructor, PixiedError);
  });

  it('say nothing that a status does not carry', () => {
    const blame = BadRequest.encode({ fieldViolations: [] }).finish();
    for (const details of [[], [any('BadRequest', blame)]]) {
      const error = fromStatus({ code: 99, message: 'odd', details });
      assert.deepEqual(
        [error.reason, error.message, error.code, error.field, error.retryAfterMs],
        ['UNKNOWN', 'odd', 99, undefined, undefined],
      );
    }
  });

  it('of a failed call are those that the server said, or say where it was going', () => {
    const call = { address: 'host:1', name: 'publish', timeoutMs: 70 };
    const failure = (code: number, metadata?: Metadata) => ({ code, details: 'it broke', metadata }) as ServiceError;
    const metadata = new Metadata();
    metadata.set('grpc-status-details-bin', Buffer.from(Status.encode(status('CHANNEL_INVALID')).finish()));
    assert.deepEqual(fromServiceError(failure(Code.INVALID_ARGUMENT, metadata), call), fromStatus(status('CHANNEL_INVALID')));
    const shown = (code: number, timeoutMs?: number) => {
      const error = fromServiceError(failure(code, new Metadata()), { ...call, timeoutMs: timeoutMs! });
      return [error.constructor, error.reason, error.code, error.message];
    };
    for (const [actual, kind, reason, code, message] of [
      [shown(Code.UNAVAILABLE, 70), Unavailable, 'UNAVAILABLE', 14, 'pixied at host:1 cannot be reached: it broke'],
      [shown(Code.DEADLINE_EXCEEDED, 70), DeadlineExceeded, 'DEADLINE_EXCEEDED', 4, 'publish was not answered within 70 ms'],
      [shown(Code.DEADLINE_EXCEEDED), PixiedError, 'DEADLINE_EXCEEDED', 4, 'publish: it broke'],
      [shown(Code.INTERNAL, 70), PixiedError, 'INTERNAL', 13, 'publish: it broke'],
      [shown(99), PixiedError, 'UNKNOWN', 99, 'publish: it broke'],
    ] as const) {
      assert.deepEqual(actual, [kind, reason, code, message]);
    }
    assert.equal(fromServiceError(failure(Code.CANCELLED), call).reason, 'CANCELLED');
  });

  it('of a full front-end name the limit', () => {
    const { name, reason, code, message } = new TooManyOperations('7');
    assert.deepEqual([name, reason, code], ['TooManyOperations', 'TOO_MANY_OPERATIONS', Code.RESOURCE_EXHAUSTED]);
    assert.match(message, /^7 of operations wait/);
  });
});
