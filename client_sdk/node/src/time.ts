// Protobuf's durations and timestamps, and JavaScript's.
import type { Duration } from '../generated/google/protobuf/duration';
import type { Timestamp } from '../generated/google/protobuf/timestamp';

/** A duration of so many milliseconds. */
export function durationOf(milliseconds: number): Duration {
  // Rounded before it is split: 999.9999999 ms are one second, not a thousand million nanoseconds.
  const microseconds = Math.round(milliseconds * 1000);
  const seconds = Math.trunc(microseconds / 1e6);
  return { seconds, nanos: (microseconds - seconds * 1e6) * 1000 };
}

/** How many milliseconds a duration lasts. */
export function millisecondsOf(duration: Duration): number {
  return duration.seconds * 1000 + duration.nanos / 1e6;
}

/** The moment that a timestamp names, to the millisecond. */
export function dateOf(timestamp: Timestamp): Date {
  return new Date(timestamp.seconds * 1000 + Math.floor(timestamp.nanos / 1e6));
}
