/** NVIDIA's libraries as wheels, which the CUDA plugins load: those that the plugins' makers name (JAX's extra `with-cuda`), at the newest versions of November 2026. */
import type { Part } from './entry.ts'

type Row = readonly [sha256: string, bytes: number, tag: string]

const wheel = ([sha256, bytes, tag]: Row): Part['wheels']['linux-x64'] & object => ({ sha256, bytes, tag })
/** A wheel that brings some libraries, by their sonames; none is the compiler's tools. */
const part = (sonames: readonly string[], name: string, version: string, x64: Row, arm64: Row): Part =>
  ({ sonames, package: name, version, wheels: { 'linux-x64': wheel(x64), 'linux-arm64': wheel(arm64) } })

export const cuda12Parts: readonly Part[] = [
  part(['libcudart.so.12'], 'nvidia-cuda-runtime-cu12', '12.9.79', [
    '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3', 3_493_179, 'manylinux2014_x86_64',
  ], [
    '83469a846206f2a733db0c42e223589ab62fd2fabac4432d2f8802de4bded0a4', 3_515_012, 'manylinux2014_aarch64',
  ]),
  part(['libnvrtc.so.12'], 'nvidia-cuda-nvrtc-cu12', '12.9.86', [
    '210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4', 89_568_129, 'manylinux2010_x86_64',
  ], [
    '096d4de6bda726415dfaf3198d4f5c522b8e70139c97feef5cd2ca6d4cd9cead', 44_528_905, 'manylinux2014_aarch64',
  ]),
  part(['libnvJitLink.so.12'], 'nvidia-nvjitlink-cu12', '12.9.86', [
    'e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9', 39_748_338, 'manylinux2010_x86_64',
  ], [
    '994a05ef08ef4b0b299829cde613a424382aff7efb08a7172c1fa616cc3af2ca', 39_514_880, 'manylinux2014_aarch64',
  ]),
  part(['libcublas.so.12', 'libcublasLt.so.12'], 'nvidia-cublas-cu12', '12.9.3.13', [
    'd7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72', 581_217_458, 'manylinux_2_27_x86_64',
  ], [
    '918a8781956115d34b1db49e0e7b7befba8d101661c4b560ed4d42e0e17bebc3', 574_997_333, 'manylinux_2_27_aarch64',
  ]),
  part(['libcusparse.so.12'], 'nvidia-cusparse-cu12', '12.5.10.65', [
    '73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78', 366_465_088, 'manylinux2014_x86_64',
  ], [
    '221c73e7482dd93eda44e65ce567c031c07e2f93f6fa0ecd3ba876a195023e83', 366_359_408, 'manylinux2014_aarch64',
  ]),
  part(['libcusolver.so.11'], 'nvidia-cusolver-cu12', '11.7.5.82', [
    '15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88', 338_117_415, 'manylinux_2_27_x86_64',
  ], [
    '62efa83e4ace59a4c734d052bb72158e888aa7b770e1a5f601682f16fe5b4fd2', 337_869_834, 'manylinux_2_27_aarch64',
  ]),
  part(['libcufft.so.11'], 'nvidia-cufft-cu12', '11.4.1.4', [
    'c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28', 200_877_592, 'manylinux2014_x86_64',
  ], [
    '1a28c9b12260a1aa7a8fd12f5ebd82d027963d635ba82ff39a1acfa7c4c0fbcf', 200_822_453, 'manylinux2014_aarch64',
  ]),
  part(['libcupti.so.12'], 'nvidia-cuda-cupti-cu12', '12.9.79', [
    '096bcf334f13e1984ba36685ad4c1d6347db214de03dbb6eebb237b41d9d934f', 10_814_997, 'manylinux_2_25_x86_64',
  ], [
    '791853b030602c6a11d08b5578edfb957cadea06e9d3b26adbf8d036135a4afe', 10_077_166, 'manylinux_2_25_aarch64',
  ]),
  part(['libnccl.so.2'], 'nvidia-nccl-cu12', '2.32.3', [
    'bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c', 351_526_311, 'manylinux_2_27_x86_64',
  ], [
    '061af42ae1044816820e16b872075e243d1ac0656f51860fbc8e106c257aa83a', 351_519_937, 'manylinux_2_27_aarch64',
  ]),
  part(['libnvshmem_host.so.3'], 'nvidia-nvshmem-cu12', '3.8.0', [
    'b2e5760d6158aefe7bb74348d5128bb1b46a7dd1fd4b7b1e6fe55b4b07888f70', 280_800_183, 'manylinux2014_x86_64',
  ], [
    '313ba41c8aacf03f9524ca83ddb2c62e7b3d82f71af815a35e3739f3d64452b2', 280_599_580, 'manylinux2014_aarch64',
  ]),
  part(['libcudnn.so.9'], 'nvidia-cudnn-cu12', '9.28.0.42', [
    '9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375', 716_538_495, 'manylinux_2_27_x86_64',
  ], [
    'f88db8fc1a0a5f458e19aa7b08fbe3500aeb9e2bb8dea6293ecbce170364ad72', 723_261_984, 'manylinux_2_27_aarch64',
  ]),
  part([], 'nvidia-cuda-nvcc-cu12', '12.9.86', [
    '5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0', 40_546_229, 'manylinux2010_x86_64',
  ], [
    '44e1eca4d08926193a558d2434b1bf83d57b4d5743e0c431c0c83d51da1df62b', 39_411_138, 'manylinux2014_aarch64',
  ]),
]

export const cuda13Parts: readonly Part[] = [
  part(['libcudart.so.13'], 'nvidia-cuda-runtime', '13.5.37', [
    'df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d', 2_504_024, 'manylinux2014_x86_64',
  ], [
    'de2dc5a7367974228b0a69588a9acc9340d3768bef1bf38bf0801eb08497cd2d', 2_520_010, 'manylinux2014_aarch64',
  ]),
  part(['libnvrtc.so.13'], 'nvidia-cuda-nvrtc', '13.5.37', [
    '86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc', 58_185_930, 'manylinux2010_x86_64',
  ], [
    '36e4fa2a8ada293f5693d308e531c196ab6f91cf7a0ff479bf96a537d43a6096', 56_419_462, 'manylinux2014_aarch64',
  ]),
  part(['libnvJitLink.so.13'], 'nvidia-nvjitlink', '13.5.37', [
    '280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb', 46_642_491, 'manylinux2010_x86_64',
  ], [
    '893f6f9a55b2720ed94913b5ba3332e972da8c78dfa2863d0244403dbd528ffc', 45_253_761, 'manylinux2014_aarch64',
  ]),
  part(['libcublas.so.13', 'libcublasLt.so.13'], 'nvidia-cublas', '13.10.0.20', [
    'dcc6d63884c53d07e267ce7e6feac17b2538cebaafec5db865736c3e28e4dc84', 444_289_903, 'manylinux1_x86_64',
  ], [
    'c5f3418c0a845232a8cabc58f6fa52cfae7d8bd3680d94c3907aca710fd48d70', 560_089_875, 'manylinux2014_aarch64',
  ]),
  part(['libcusparse.so.12'], 'nvidia-cusparse', '12.9.4.2', [
    '072667e58c851a318738f5527a12eb225cbf058803f2ea451c722d8cf8edddec', 230_422_857, 'manylinux2014_x86_64',
  ], [
    'e2ce97f185c9c4b285e4a8fbf02cb96dd1b8dd66736ebe2f0a8da5f6012a4fb7', 230_296_529, 'manylinux2014_aarch64',
  ]),
  part(['libcusolver.so.12'], 'nvidia-cusolver', '12.4.1.2', [
    'b3b8e02fd2f2df869369af075dc3a179d43f6f7b85e94632a7dce556697be044', 260_003_940, 'manylinux_2_27_x86_64',
  ], [
    '1f54c8e0d5b1ebd183b4c5a79f0709fa90241e8254da381ca5b969ee97c8de32', 304_822_178, 'manylinux_2_27_aarch64',
  ]),
  part(['libcufft.so.12'], 'nvidia-cufft', '12.5.0.14', [
    'b8be26837a5abad2b5b74f3e92dd29f622a42934b355be0961a48712cbba23ad', 165_072_555, 'manylinux2014_x86_64',
  ], [
    '091cde103312d6e09366122fe3f67092dcfd94cc9785029d695d6bcffaa76fdf', 165_074_034, 'manylinux2014_aarch64',
  ]),
  part(['libcupti.so.13'], 'nvidia-cuda-cupti', '13.5.25', [
    '9dcca41c12a734192b14e7128ae116bc9ce1b9da686e2ebf48ae7a4415f76650', 12_592_974, 'manylinux_2_25_x86_64',
  ], [
    'd7e4d908315461b6ecbdadfd3c403cc796ed218b293ad117568c947e811cff28', 12_236_153, 'manylinux_2_25_aarch64',
  ]),
  part(['libnccl.so.2'], 'nvidia-nccl-cu13', '2.32.3', [
    '1459723080ac889d73a26edfa3e04383a7928ab31ac8f0ec43b3ea9548b04ff3', 305_100_071, 'manylinux_2_27_x86_64',
  ], [
    'a5bee92b2f4af218c109f8d221c3c9adcc752b94ae0ffcb0ed5abf9341a7724c', 305_107_282, 'manylinux_2_27_aarch64',
  ]),
  part(['libnvshmem_host.so.3'], 'nvidia-nvshmem-cu13', '3.8.0', [
    '81a4d1f666543e6d34df6d2ff940c7da1435e34e186aab6f3c2b48861b64ef38', 182_092_449, 'manylinux2014_x86_64',
  ], [
    '8120175024f52a64323cfc5d645e95ac7345f1ee243a998d140ce19163285294', 181_881_399, 'manylinux2014_aarch64',
  ]),
  part(['libcudnn.so.9'], 'nvidia-cudnn-cu13', '9.28.1.4', [
    'a54f205b1db1f2895d99f398754db1369816f0569dd459731f925635cf7b65ec', 516_817_937, 'manylinux_2_27_x86_64',
  ], [
    '759b6a4919951ed8ec603dec97b96f6a6396c8269b95b3d345526e2471fb433d', 597_008_823, 'manylinux_2_27_aarch64',
  ]),
  part([], 'nvidia-cuda-nvcc', '13.5.37', [
    'f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7', 47_028_279, 'manylinux2014_x86_64',
  ], [
    '588eda18eb5076ae859fe272844b526459228af22df0b117f54eec3aa82bc9c8', 40_745_418, 'manylinux2014_aarch64',
  ]),
  part([], 'nvidia-nvvm', '13.5.37', [
    'c41bfa362e407405163f103c2229f0765f8cc2ed7d148b754dc77f228bf7e070', 75_141_406, 'manylinux2010_x86_64',
  ], [
    'b659bd3115b7ac7ec8931e67d0e2c0dd09cd35b08a6a7372df6f8f22c67da80a', 71_213_582, 'manylinux2014_aarch64',
  ]),
]
