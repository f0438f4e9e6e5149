from tests.webhook.plane import control_plane, event
import time
async def test_a(postgres_dsn):
    for _ in range(3):
        t=time.time()
        async with control_plane(postgres_dsn) as it:
            print("up", time.time()-t)
            print(await it.notify(event("a.jpg")))
            w = await it.worker()
            print(await w.lease())
            t=time.time()
        print("down", time.time()-t)
