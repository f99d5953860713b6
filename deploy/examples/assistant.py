"""A Baton assistant in Python: answers over NATS, as docs/assistant-contract.md says.

    pip install -r deploy/examples/requirements.txt
    python deploy/examples/assistant.py --nats nats://127.0.0.1:4222

Run it instead of the service `assistant`. Any number of copies may run: they share one durable
consumer. What it says is in `think`; everything else is the contract.
"""

import argparse
import asyncio
import contextlib
import importlib
import pathlib
import signal
import sys
import tempfile

import nats
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError, TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

STREAM = "CONVERSATIONS"
QUESTIONS = "conv.*.*.dec"
STORED_BEFORE = 10071  # "wrong last sequence": the subject has its message
ACK_WAIT = 30.0  # seconds; longer than `think` may take


def messages(schema: pathlib.Path):
    """The protobuf classes, made from the schema."""
    from grpc_tools import protoc

    made = tempfile.mkdtemp(prefix="baton-proto-")
    arguments = ["protoc", f"-I{schema}", f"--python_out={made}", "baton/v1/log.proto"]
    if protoc.main(arguments) != 0:
        raise SystemExit("the schema cannot be compiled")
    sys.path.insert(0, made)
    return importlib.import_module("baton.v1.log_pb2")


async def think(pb, ask) -> "pb.AssistantAnswer":
    """The answer to a question. Put your own thoughts here; raise nothing, and take less than ACK_WAIT."""
    answer = pb.AssistantAnswer()
    text = ask.text.lower()
    if "human" in text and not ask.helping:
        answer.handoff.reason = "the customer asked for a person"
        answer.handoff.summary = ask.text[:300]
    elif "hours" in text:
        answer.reply.text = "We are open from 9 to 18."
    elif "colour" in text:
        buttons = answer.reply.body.buttons
        buttons.body = "Which colour?"
        for n, title in enumerate(["Red", "Blue"], start=1):
            buttons.options.add(id=f"colour-{n}", title=title)
    elif ask.helping:
        answer.silence.SetInParent()
    else:
        answer.reply.text = "I can tell you our opening hours, or call a human."
    return answer


async def store(js, subject: str, payload: bytes, traceparent: str | None) -> None:
    """Appends the answer once: repeated until the log has one, ours or another's."""
    headers = {"Nats-Expected-Last-Subject-Sequence": "0"}
    if traceparent:
        headers["traceparent"] = traceparent
    pause = 0.05
    while True:
        try:
            await js.publish(subject, payload, timeout=2.0, stream=None, headers=headers)
            return
        except APIError as error:
            if error.err_code == STORED_BEFORE:
                return
        except (NatsTimeout, NoRespondersError, NatsError):
            pass  # whether it is stored is not known: the same again
        await asyncio.sleep(pause)
        pause = min(pause * 2, 1.0)


async def answer(pb, js, message) -> None:
    """All questions of a decision."""
    decision = pb.Entry.FromString(message.data).decision
    # conv.<partition>.<conversation key>.dec
    place = message.subject.removesuffix(".dec")
    traceparent = (message.headers or {}).get("traceparent")
    # The index counts all outputs, not only questions.
    for index, output in enumerate(decision.outputs):
        if output.WhichOneof("output") != "ask":
            continue
        cause = f"{decision.answers}-{index}"
        entry = pb.Entry()
        entry.assistant_answer.CopyFrom(await think(pb, output.ask))
        entry.assistant_answer.ask = cause
        entry.assistant_answer.epoch = output.ask.epoch
        await store(js, f"{place}.ai.{cause}", entry.SerializeToString(), traceparent)
    # Not before the answers are stored: else a crash would leave the customer without one.
    await message.ack()


async def run(url: str, schema: pathlib.Path) -> None:
    pb = messages(schema)
    stop = asyncio.Event()
    for what in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(what, stop.set)
    connection = await nats.connect(url, max_reconnect_attempts=-1)
    js = connection.jetstream()
    config = ConsumerConfig(
        durable_name="assistant-python",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        max_ack_pending=256,
        filter_subject=QUESTIONS,
    )
    questions = await js.pull_subscribe(QUESTIONS, durable=config.durable_name, stream=STREAM, config=config)
    print("answering", flush=True)
    stopped = asyncio.ensure_future(stop.wait())
    while not stop.is_set():
        fetch = asyncio.ensure_future(questions.fetch(16, timeout=5.0))
        await asyncio.wait({fetch, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not fetch.done():
            fetch.cancel()
            break
        with contextlib.suppress(NatsTimeout):  # nothing to do
            # Answers, unlike decisions, need no order between conversations.
            await asyncio.gather(*(answer(pb, js, message) for message in fetch.result()))
    await connection.drain()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--nats", default="nats://127.0.0.1:4222")
    arguments.add_argument(
        "--schema",
        type=pathlib.Path,
        default=pathlib.Path(__file__).resolve().parents[2] / "proto",
        help="the directory that baton/v1/log.proto is in",
    )
    chosen = arguments.parse_args()
    asyncio.run(run(chosen.nats, chosen.schema))
