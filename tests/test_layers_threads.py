"""One network in several threads: the numbers of one thread, and nothing left behind by whatever ends a forward."""

import threading

import pytest
import torch
from torch import nn

from sttp.layers import STTP, Haar, Householder, Riemannian, reparameterize

THREADS, ROUNDS = 8, 20
INPUTS = [torch.randn(3, 12, generator=torch.Generator().manual_seed(k)) for k in range(THREADS)]


def built(frames):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4))
    return reparameterize(network, STTP(3, frames=frames, initialization=Haar()))


def forward_and_backward(network, number):
    loss = network(INPUTS[number]).square().sum()
    return loss.detach(), torch.autograd.grad(loss, list(network.parameters()))


@pytest.mark.parametrize("frames", [Riemannian(), Householder()], ids=["stiefel", "householder"])
def test_threads_have_the_numbers_of_one(frames):
    network = built(frames)
    alone = [forward_and_backward(network, number) for number in range(THREADS)]
    failures, barrier = [], threading.Barrier(THREADS)

    def work(number):
        try:
            barrier.wait()
            for turn in range(ROUNDS):
                if turn % 4 == number % 4:
                    with torch.no_grad():
                        torch.testing.assert_close(network(INPUTS[number]).square().sum(), alone[number][0])
                torch.testing.assert_close(forward_and_backward(network, number), alone[number])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError, SystemExit])
def test_a_forward_that_is_interrupted_leaves_no_stale_weight(kind):
    network = built(Riemannian())
    calls = []

    def interrupt(*_):
        calls.append(network[0].weight)
        raise kind("now")

    handle = network[2].register_forward_hook(interrupt)
    caught = None
    try:
        network(INPUTS[0])
    except kind as error:
        caught = error  # whose traceback keeps the frames of the forward
    assert caught is not None
    handle.remove()
    network[0].weight.sum().backward()
    network[0].weight.sum().backward()  # no graph is used twice
    before = network[0].weight.detach().clone()
    with torch.no_grad():
        network[0].spectral.spectrum.data.mul_(2)  # which changes no version
    torch.testing.assert_close(network[0].weight.detach(), 2 * before)
