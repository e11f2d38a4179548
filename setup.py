# SPDX-License-Identifier: Apache-2.0
"""An ament_python package for colcon that plain pip installs too: `pip install -e '.[cpu]'`."""

from glob import glob

from setuptools import find_packages, setup

NAME = 'depthface_ros'

setup(
    name=NAME,
    version='0.1.0',
    description='Head pose, face mesh and expression from a depth camera, without colour.',
    maintainer='depthface_ros contributors',
    maintainer_email='depthface_ros@users.noreply.github.com',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['models/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', glob('launch/*.launch.py')),
        (f'share/{NAME}/config', glob('config/*')),
    ],
    # A robot gets numpy and OpenCV from apt: only what every use of the package needs is here.
    install_requires=['array-api-compat>=1.9', 'numpy>=1.26'],
    extras_require={
        'cpu': ['numba>=0.59', 'onnxruntime>=1.17', 'opencv-python-headless>=4.8', 'rosbags>=0.11'],
        # torch and TensorRT themselves come as the GPU's driver wants them: see README.md
        'cuda': ['onnx>=1.16', 'torch>=2.4'],
        'tensorrt': ['cuda-bindings>=12.6.1', 'onnx>=1.16'],
        'rtx': ['cuda-bindings>=12.6.1', 'onnx>=1.16', 'tensorrt-rtx-cu12>=1.4'],
        'ros': ['ros-rclpy[fastrtps]==7.1.6', *(f'ros-{name}-msgs==5.3.6' for name in (
            'diagnostic', 'geometry', 'nav', 'sensor', 'std', 'visualization'))],
        'train': ['anny==0.6.2', 'onnx>=1.16', 'onnxscript', 'rich', 'roma', 'scipy',
                  'torch>=2.4'],
        'plots': ['matplotlib>=3.8'],  # of `python -m training evaluate --plots`
        'docs': ['mkdocs-material>=9.5', 'mkdocstrings-python>=1.10'],
        'test': ['hypothesis', 'pytest', 'pytest-timeout'],
    },
    zip_safe=False,
    entry_points={'console_scripts': [
        'depthface = depthface_ros.cli:main',
        'depthface_node = depthface_ros.ros.__main__:main',
    ]},
)
