// Which deliveries of one stream are handled, and up to which number all are.
import { Fifo } from './fifo';

/** One delivery that is being handled. */
export interface Receipt {
  /** The delivery is not handled before this work is done. The work must not fail. */
  wait(work: Promise<void>): void;
  /** Nothing more will be waited for. */
  seal(): void;
}

class OpenReceipt implements Receipt {
  private isSealed = false;
  private working = 0;

  constructor(
    readonly number: number,
    private readonly changed: () => void,
  ) {}

  get isDone(): boolean {
    return this.isSealed && this.working === 0;
  }

  wait(work: Promise<void>): void {
    this.working += 1;
    void work.then(() => {
      this.working -= 1;
      this.changed();
    });
  }

  seal(): void {
    this.isSealed = true;
    this.changed();
  }
}

/** Deliveries in their order; a confirmation is cumulative, so the oldest that is not handled holds it back. */
export class Receipts {
  private readonly open_ = new Fifo<OpenReceipt>();

  /** @param handled called each time every delivery up to a further number has been handled. */
  constructor(private readonly handled: (number: number) => unknown) {}

  /** A delivery has come. */
  open(number: number): Receipt {
    const receipt = new OpenReceipt(number, () => this.settle());
    this.open_.push(receipt);
    return receipt;
  }

  private settle(): void {
    let through = 0;
    while (this.open_.first?.isDone) through = this.open_.shift()!.number;
    if (through > 0) this.handled(through);
  }
}
