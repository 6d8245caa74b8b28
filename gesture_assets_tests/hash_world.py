from datetime import date


def write(f, users, days, seed):
    try:
        from gesture_assets.demo.world import write_demo_world
    except ImportError:
        from gesture_assets.sources.demo_world import write_demo_world
    write_demo_world(
        landing=f / "landing",
        crm=f / "crm_database.sqlite",
        truth=f / "demo_truth.parquet",
        users=users,
        days=days,
        seed=seed,
        end=date(2026, 3, 10),
    )
