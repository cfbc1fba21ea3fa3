from gymnasium.envs.box2d.car_racing import CarRacing

from vmc.bench.road_follower import RoadFollower


def test_the_driver_stays_on_the_road() -> None:
    """Three hundred steps on one track: a random policy's return there is below 0."""
    env, driver = CarRacing(), RoadFollower()
    env.reset(seed=0)
    total = 0.0
    for _ in range(300):
        _, reward, terminated, _, _ = env.step(driver(env))
        total += float(reward)
        assert not terminated
    assert total > 150
