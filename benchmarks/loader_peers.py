"""Peers of the loader, each a process in an environment of its own; started by bench_loader.py.

    python benchmarks/loader_peers.py NAME FOLDER

FOLDER holds the rows as ``clean.bin`` and ``noise.bin`` (n, 4, 64, 64) uint16, the same rows as a store, and
``order.npy``, the batches that are due. A peer brings the rows into its own format, says ``ready``, and then goes once
through all rows for each line that it is sent, saying how many seconds it took. Those with random access give exactly
the batches due; WebDataset and LitData shuffle their own way. Every batch ends as two uint16 arrays of the same shape.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

SHAPE = (4, 64, 64)
NAMES = ("clean", "noise")
Pass = Callable[[], object]


class Rows:
    """The rows, the batches due, and buffers that begin at a cache line: elsewhere copies may be six times slower."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "pairs.zarr"
        self.planes = [np.memmap(folder / f"{n}.bin", np.uint16, "r").reshape(-1, *SHAPE) for n in NAMES]
        self.batches: list[np.ndarray] = list(np.load(folder / "order.npy"))
        self.buffers = [aligned((len(self.batches[0]), *SHAPE)) for _ in NAMES]

    def __len__(self) -> int:
        return len(self.planes[0])

    def own(self, name: str) -> Path:
        """An empty folder for a peer's format."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        return self.folder / name

    def samples(self) -> Iterator[dict[str, bytes]]:
        for pair in zip(*self.planes, strict=True):
            yield {name: row.tobytes() for name, row in zip(NAMES, pair, strict=True)}

    def put(self, i: int, sample: dict[str, bytes]) -> None:
        for buffer, name in zip(self.buffers, NAMES, strict=True):
            buffer[i] = np.frombuffer(sample[name], np.uint16).reshape(SHAPE)

    def collate(self, samples: Iterator[dict[str, bytes]]) -> None:
        """Batches of what a peer yields one by one."""
        for i, sample in enumerate(samples):
            self.put(i % len(self.buffers[0]), sample)


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * 2
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(np.uint16).reshape(shape)


def memmap(rows: Rows) -> Pass:
    def run() -> None:
        for index in rows.batches:
            for plane, buffer in zip(rows.planes, rows.buffers, strict=True):
                np.take(plane, index, axis=0, out=buffer, mode="clip")

    return run


def lmdb(rows: Rows) -> Pass:
    import lmdb

    folder = str(rows.own("lmdb"))
    with lmdb.open(folder, map_size=4 << 30) as base, base.begin(write=True) as write:
        for i, sample in enumerate(rows.samples()):
            write.put(i.to_bytes(8, "big"), b"".join(sample[n] for n in NAMES))
    read = lmdb.open(folder, readonly=True, lock=False, readahead=False).begin(buffers=True)

    def run() -> None:
        a, b = rows.buffers
        for index in rows.batches:
            for i, row in enumerate(index.tolist()):
                pair = np.frombuffer(read.get(row.to_bytes(8, "big")), np.uint16).reshape(2, *SHAPE)
                a[i], b[i] = pair

    return run


def datasets(rows: Rows) -> Pass:
    import datasets
    import pyarrow as pa

    path = str(rows.own("datasets"))
    schema = datasets.Features({n: datasets.Value("binary") for n in NAMES})
    samples = list(rows.samples())
    datasets.Dataset.from_dict({n: [s[n] for s in samples] for n in NAMES}, schema).save_to_disk(path)
    del samples
    data = datasets.load_from_disk(path).with_format("arrow")

    def run() -> None:
        for index in rows.batches:
            table: pa.Table = data[index]
            for name, buffer in zip(NAMES, rows.buffers, strict=True):
                for i, value in enumerate(table.column(name)):
                    buffer[i] = np.frombuffer(value.as_buffer(), np.uint16).reshape(SHAPE)

    return run


def zarr(rows: Rows) -> Pass:
    import zarr

    arrays = [zarr.open_array(str(rows.store / n), mode="r") for n in NAMES]

    def run() -> None:
        for index in rows.batches:
            for array, buffer in zip(arrays, rows.buffers, strict=True):
                buffer[:] = array.oindex[index]

    return run


def zarrs(rows: Rows) -> Pass:
    import zarr as library
    import zarrs

    library.config.set({"codec_pipeline.path": f"{zarrs.__name__}.ZarrsCodecPipeline"})
    return zarr(rows)


def tensorstore(rows: Rows) -> Pass:
    import tensorstore

    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 64 << 20}})
    arrays = [
        tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{rows.store / n}/"}},
            context=context, read=True, recheck_cached_data=False, recheck_cached_metadata=False,
        ).result()
        for n in NAMES
    ]  # fmt: skip

    def run() -> None:
        for index in rows.batches:
            reads = [array[index].read() for array in arrays]
            for read, buffer in zip(reads, rows.buffers, strict=True):
                buffer[:] = read.result()

    return run


def webdataset(rows: Rows) -> Pass:
    import webdataset

    folder = rows.own("webdataset")
    with webdataset.ShardWriter(str(folder / "%04d.tar"), maxsize=64 << 20, verbose=0) as out:
        for i, sample in enumerate(rows.samples()):
            out.write({"__key__": f"{i:08d}", **{f"{n}.bin": b for n, b in sample.items()}})
    tars = sorted(map(str, folder.glob("*.tar")))

    def run() -> None:
        stream = webdataset.WebDataset(tars, shardshuffle=len(tars), seed=0).shuffle(1000)
        rows.collate({n: s[f"{n}.bin"] for n in NAMES} for s in stream)

    return run


def litdata(rows: Rows) -> Pass:
    import litdata
    from litdata.streaming.writer import BinaryWriter

    folder = rows.own("litdata")
    writer = BinaryWriter(str(folder), chunk_bytes=64 << 20)
    for i, sample in enumerate(rows.samples()):
        writer[i] = sample
    writer.done()
    writer.merge()
    data = litdata.StreamingDataset(str(folder), shuffle=True)
    return lambda: rows.collate(iter(data))


def mosaic(rows: Rows) -> Pass:
    from streaming import MDSWriter, StreamingDataset

    folder = rows.own("mosaic")
    with MDSWriter(out=str(folder), columns=dict.fromkeys(NAMES, "bytes"), size_limit=64 << 20) as out:
        for sample in rows.samples():
            out.write(sample)
    data = StreamingDataset(local=str(folder), shuffle=False, batch_size=len(rows.buffers[0]))

    def run() -> None:
        for index in rows.batches:
            for i, row in enumerate(index.tolist()):
                rows.put(i, data[row])

    return run


PEERS: dict[str, Callable[[Rows], Pass]] = {
    f.__name__: f for f in (memmap, lmdb, datasets, tensorstore, zarrs, zarr, webdataset, litdata, mosaic)
}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    try:
        run = PEERS[name](Rows(folder))
    except ImportError as error:
        print(f"absent {error}", flush=True)
        return
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
