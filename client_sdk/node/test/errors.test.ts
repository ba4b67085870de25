// Errors as classes.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { status as Code } from '@grpc/grpc-js';

import { BadRequest, ErrorInfo, RetryInfo } from '../generated/google/rpc/error_details';
import type { Status } from '../generated/google/rpc/status';
import { ErrorReason } from '../generated/pixied/v1/errors';
import { ChannelInvalid, CLASSES, fromStatus, PixiedError } from '../src/errors';

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
});
