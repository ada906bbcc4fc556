UsageError[unknown-recipe] there is no recipe "nowhere"
  fix  there are: context-tiny, fsdp-tiny, gpt-1t, gpt-tiny, grid-tiny, moe-tiny, pipeline-tiny, sequence-tiny, spatial-tiny; or give a .ts file
